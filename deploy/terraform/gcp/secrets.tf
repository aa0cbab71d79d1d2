# Each region has its own secrets, stored in that region only, under that region's key, and readable by that region's
# account only. Values are write-only: they are in Secret Manager, not in the state.

locals {
  ca_path = "/etc/movr/database-ca"

  # What an instance reads: its own nodes as DATABASE_URL, the others' as MOVR_DATABASE_URL_<REGION>.
  web_secrets = merge([for region in var.regions : merge(
    {
      "${region}/DATABASE_URL"     = { region = region, variable = "DATABASE_URL", nodes = region }
      "${region}/MOVR_SECRET_KEYS" = { region = region, variable = "MOVR_SECRET_KEYS", nodes = "" }
    },
    { for other, variable in local.variables :
      "${region}/${variable}" => { region = region, variable = variable, nodes = other } if other != region
    }
  )]...)

  # What is no secret, but comes as a file: Cloud Run mounts files from here.
  files = {
    database-ca = data.cockroach_cluster_cert.this.cert
    run-monitoring = yamlencode({
      apiVersion = "monitoring.googleapis.com/v1beta"
      kind       = "RunMonitoring"
      metadata   = { name = var.name }
      spec       = { endpoints = [{ port = 9090, path = "/metrics", interval = "30s" }] }
    })
  }
}

resource "google_secret_manager_secret" "web" {
  for_each  = local.web_secrets
  secret_id = "${var.name}-${each.value.region}-${lower(replace(each.value.variable, "_", "-"))}"

  replication {
    user_managed {
      replicas {
        location = each.value.region
        customer_managed_encryption {
          kms_key_name = google_kms_crypto_key.application[each.value.region].id
        }
      }
    }
  }
  depends_on = [google_kms_crypto_key_iam_member.application]
}

resource "google_secret_manager_secret_version" "web" {
  for_each = local.web_secrets
  secret   = google_secret_manager_secret.web[each.key].id
  secret_data_wo = each.value.nodes == "" ? var.secret_keys : format(
    "postgresql://%s:%s@%s:26257/movr?sslmode=verify-full&sslrootcert=${local.ca_path}/ca.crt",
    var.application_role, urlencode(var.application_password), local.database_hosts[each.value.nodes]
  )
  secret_data_wo_version = var.secrets_version
  deletion_policy        = "DISABLE"

  # The revision that runs names the version before, until the next one is ready.
  lifecycle {
    create_before_destroy = true
  }
}

resource "google_secret_manager_secret" "file" {
  for_each = {
    for pair in setproduct(var.regions, keys(local.files)) :
    "${pair[0]}/${pair[1]}" => { region = pair[0], file = pair[1] }
  }
  secret_id = "${var.name}-${each.value.region}-${each.value.file}"

  replication {
    user_managed {
      replicas {
        location = each.value.region
        customer_managed_encryption {
          kms_key_name = google_kms_crypto_key.application[each.value.region].id
        }
      }
    }
  }
  depends_on = [google_kms_crypto_key_iam_member.application]
}

resource "google_secret_manager_secret_version" "file" {
  for_each        = google_secret_manager_secret.file
  secret          = each.value.id
  secret_data     = local.files[split("/", each.key)[1]]
  deletion_policy = "DISABLE"

  lifecycle {
    create_before_destroy = true
  }
}

# The migration's, in the primary region.
resource "google_secret_manager_secret" "migrate" {
  for_each  = toset(["database-url", "catalogue"])
  secret_id = "${var.name}-migrate-${each.value}"

  replication {
    user_managed {
      replicas {
        location = var.primary_region
        customer_managed_encryption {
          kms_key_name = google_kms_crypto_key.application[var.primary_region].id
        }
      }
    }
  }
  depends_on = [google_kms_crypto_key_iam_member.application]
}

resource "google_secret_manager_secret_version" "migrate_database_url" {
  secret = google_secret_manager_secret.migrate["database-url"].id
  secret_data_wo = format(
    "postgresql://%s:%s@%s:26257/movr?sslmode=verify-full&sslrootcert=${local.ca_path}/ca.crt",
    cockroach_sql_user.migrator.name, urlencode(var.migrator_password), local.database_hosts[var.primary_region]
  )
  secret_data_wo_version = var.secrets_version
  deletion_policy        = "DISABLE"

  lifecycle {
    create_before_destroy = true
  }
}

resource "google_secret_manager_secret_version" "catalogue" {
  secret          = google_secret_manager_secret.migrate["catalogue"].id
  secret_data     = local.catalogue
  deletion_policy = "DISABLE"

  lifecycle {
    create_before_destroy = true
  }
}
