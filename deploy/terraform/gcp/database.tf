# One logical database, three nodes in each region. ADVANCED, because a key per region (CMEK) and private addresses of
# the nodes exist only there; STANDARD is enough for a trial: plan, `serverless` in place of `dedicated`, `primary` in
# one region, and no cockroach_cmek.
resource "cockroach_cluster" "this" {
  name              = var.name
  cloud_provider    = "GCP"
  plan              = "ADVANCED"
  cockroach_version = var.database_version
  delete_protection = true

  dedicated = {
    num_virtual_cpus           = var.database_vcpus
    storage_gib                = var.database_storage_gib
    private_network_visibility = true
  }

  regions = [for region in var.regions : { name = region, node_count = var.database_nodes }]

  # These hold the rows of all regions in storage that Cockroach Labs chooses; backups.tf keeps them apart.
  backup_config = {
    enabled           = var.managed_backups
    frequency_minutes = 15
    retention_days    = 30
  }
}

locals {
  # How CockroachDB Cloud names its own accounts of this cluster, in its own project.
  database_accounts = {
    for purpose in ["kms", "dr-store"] : purpose => format(
      "crl-%s-user-%s@%s.iam.gserviceaccount.com",
      purpose, substr(cockroach_cluster.this.id, -12, -1), cockroach_cluster.this.account_id
    )
  }

  database_hosts = { for region in cockroach_cluster.this.regions : region.name => region.private_endpoint_dns }
}

resource "cockroach_private_endpoint_services" "this" {
  cluster_id = cockroach_cluster.this.id
}

# Instances come by the private addresses. People come from the networks named, and from nowhere without one.
resource "cockroach_allow_list" "admin" {
  for_each   = var.admin_networks
  cluster_id = cockroach_cluster.this.id
  name       = each.key
  cidr_ip    = split("/", each.value)[0]
  cidr_mask  = tonumber(split("/", each.value)[1])
  sql        = true
  ui         = true
}

data "cockroach_cluster_cert" "this" {
  id = cockroach_cluster.this.id
}

# Owns the schema; only the migration knows its password. The application's role is not made here, for a user that the
# Cloud makes may administer the cluster: `movr migrate --roles` makes it, with exactly the rights that it needs.
resource "cockroach_sql_user" "migrator" {
  cluster_id = cockroach_cluster.this.id
  name       = "movr_migrator"
  password   = var.migrator_password

  # Later it is changed in SQL, on purpose: an `apply` with another value must not lock the migration out.
  lifecycle {
    ignore_changes = [password]
  }
}

# Each region's disks under that region's key. CockroachDB Cloud uses a key as one of our accounts, which may use
# no other.
resource "google_service_account" "database_key" {
  for_each     = local.regions
  account_id   = "${var.name}-cmek-${each.value}"
  display_name = "Key of the database in ${each.value}"
}

resource "google_service_account_iam_member" "database_key" {
  for_each           = local.regions
  service_account_id = google_service_account.database_key[each.value].name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = "serviceAccount:${local.database_accounts["kms"]}"
}

resource "google_kms_crypto_key_iam_member" "database" {
  for_each      = local.regions
  crypto_key_id = google_kms_crypto_key.database[each.value].id
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = google_service_account.database_key[each.value].member
}

# A right that was just given is not seen everywhere at once.
resource "time_sleep" "database_key" {
  create_duration = "3m"
  depends_on      = [google_service_account_iam_member.database_key, google_kms_crypto_key_iam_member.database]
}

resource "cockroach_cmek" "this" {
  id = cockroach_cluster.this.id
  regions = [for region in var.regions : {
    region = region
    key = {
      type           = "GCP_CLOUD_KMS"
      uri            = google_kms_crypto_key.database[region].id
      auth_principal = google_service_account.database_key[region].email
    }
  }]
  depends_on = [time_sleep.database_key]
}
