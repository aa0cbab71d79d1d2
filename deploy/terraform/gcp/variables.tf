variable "project" {
  type        = string
  description = "Google Cloud project."
}

variable "name" {
  type        = string
  default     = "movr"
  description = "Prefix of all names."

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,11}$", var.name))
    error_message = "At most 12 characters from a-z, 0-9 and -; with long regions fewer, see regions."
  }
}

variable "regions" {
  type        = list(string)
  default     = ["us-east1", "us-west1", "europe-west1"]
  description = "Google's regions of the service and of the database; the catalogue has the same."

  validation {
    condition     = alltrue([for region in var.regions : length("${var.name}-cmek-${region}") <= 30])
    error_message = "<name>-cmek-<region> is the name of a service account: at most 30 characters. Choose a shorter name."
  }
}

variable "code_prefix" {
  type        = string
  default     = "gcp-"
  description = "With what CockroachDB Cloud begins the name of a region in SQL: SHOW REGIONS FROM CLUSTER."
}

variable "primary_region" {
  type        = string
  default     = "us-east1"
  description = "Where migrations run, and where the GLOBAL tables have their leases."

  validation {
    condition     = contains(var.regions, var.primary_region)
    error_message = "Must be one of the regions."
  }
}

variable "domain" {
  type        = string
  description = "Name in the browser: movr.example.com."
}

variable "dns_zone" {
  type        = string
  description = "Cloud DNS zone, which exists, in which the domain is."
}

variable "catalogue" {
  type        = string
  default     = "../../catalog.toml"
  description = "Catalogue that `movr migrate` loads, with code_prefix and https://<domain> put in."
}

variable "image" {
  type        = string
  description = "Digest of the image, as the push printed it: sha256:..."

  validation {
    condition     = can(regex("^sha256:[0-9a-f]{64}$", var.image))
    error_message = "A digest, not a tag: what was tested is what runs."
  }
}

variable "min_instances" {
  type        = number
  default     = 3
  description = "Instances of a region that are always there. The health of a region is computed from them."

  validation {
    condition     = var.min_instances >= 1
    error_message = "Without an instance there is no health, and no failover."
  }
}

variable "max_instances" {
  type        = number
  default     = 6
  description = "Most instances of a region; with pool_size it bounds the connections to the database."
}

variable "pool_size" {
  type        = number
  default     = 10
  description = "MOVR_POOL_SIZE: connections of an instance to its region, and a quarter of that to each other."
}

variable "database_nodes" {
  type        = number
  default     = 3
  description = "Database nodes of each region: three survive the loss of a zone."
}

variable "database_vcpus" {
  type        = number
  default     = 8
  description = "Processors of each node."
}

variable "database_storage_gib" {
  type        = number
  default     = 150
  description = "Storage of each node."
}

variable "database_version" {
  type        = string
  default     = "v25.4"
  description = "Major version of CockroachDB."
}

variable "managed_backups" {
  type        = bool
  default     = false
  description = "Backups by Cockroach Labs as well; not where a policy's backup_regions forbids it, as the catalogue's does."
}

variable "admin_networks" {
  type        = map(string)
  default     = {}
  description = "Networks from which people may reach the database, by name: { office = \"198.51.100.0/24\" }."
}

variable "migrator_password" {
  type        = string
  sensitive   = true
  description = "Password of the SQL user that owns the schema: as it is made, and in the migration's secret."

  validation {
    condition     = length(var.migrator_password) >= 16
    error_message = "At least 16 characters."
  }
}

variable "application_role" {
  type        = string
  default     = "movr_app"
  description = "SQL role of the instances, which `movr migrate --roles` makes. A second one, to change the password without a pause."

  validation {
    condition     = can(regex("^[a-z_][a-z0-9_]*$", var.application_role))
    error_message = "Only a-z, 0-9 and _: it is part of a URL."
  }
}

variable "application_password" {
  type        = string
  sensitive   = true
  ephemeral   = true
  description = "Password of the role application_role."

  validation {
    condition     = length(var.application_password) >= 16
    error_message = "At least 16 characters."
  }
}

variable "secret_keys" {
  type        = string
  sensitive   = true
  ephemeral   = true
  description = "MOVR_SECRET_KEYS: one to three keys, separated by commas; the first signs."

  validation {
    condition     = alltrue([for key in split(",", var.secret_keys) : can(regex("^[A-Za-z0-9+/]{86,}=*$", key))])
    error_message = "Each is what `openssl rand -base64 64` prints, without the line break."
  }
}

variable "secrets_version" {
  type        = number
  default     = 1
  description = "Raise it after changing a password, a key or application_role: secrets are written when it changes, and only then."
}

variable "otlp_endpoint" {
  type        = map(string)
  default     = {}
  description = "OTLP/HTTP collector of each region, with an address in its subnetwork; none: no traces."
}

variable "requests_per_minute" {
  type        = number
  default     = 600
  description = "Requests of one address; more are answered with 429 at the edge."
}
