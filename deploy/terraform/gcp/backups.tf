# Each region's rows are backed up into that region's bucket, under that region's key. CockroachDB does its best: a range
# that no node of its region can read goes to the default bucket.

resource "google_storage_bucket" "backup" {
  for_each                    = local.regions
  name                        = "${var.project}-${var.name}-backup-${each.value}"
  location                    = each.value
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  #checkov:skip=CKV_GCP_62: the audit log of the project has who came; an access log would be a second one
  #checkov:skip=CKV_GCP_78: a backup is never written again, and soft_delete_policy keeps what is deleted

  encryption {
    default_kms_key_name = google_kms_crypto_key.application[each.value].id
  }

  # Until then nobody deletes a backup or writes over it, not even this configuration.
  retention_policy {
    retention_period = 1209600 # 14 days
  }

  soft_delete_policy {
    retention_duration_seconds = 604800 # 7 days
  }

  lifecycle_rule {
    condition {
      age = 35
    }
    action {
      type = "Delete"
    }
  }
  depends_on = [google_kms_crypto_key_iam_member.application]
}

# The account that writes them; the cluster's own account may act as it, and as nobody else.
resource "google_service_account" "backup" {
  account_id   = "${var.name}-backup"
  display_name = "Backups of the database"
}

# BACKUP and RESTORE need to create, read and list objects, and neither to delete nor to write over them.
resource "google_storage_bucket_iam_member" "backup" {
  for_each = {
    for pair in setproduct(var.regions, ["objectCreator", "objectViewer"]) :
    "${pair[0]}/${pair[1]}" => { region = pair[0], role = pair[1] }
  }
  bucket = google_storage_bucket.backup[each.value.region].name
  role   = "roles/storage.${each.value.role}"
  member = google_service_account.backup.member
}

resource "google_service_account_iam_member" "backup" {
  service_account_id = google_service_account.backup.name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = "serviceAccount:${local.database_accounts["dr-store"]}"
}

locals {
  backup_uris = [for region in var.regions : format(
    "'gs://%s?AUTH=implicit&ASSUME_ROLE=%s,%s&COCKROACH_LOCALITY=%s'",
    google_storage_bucket.backup[region].name,
    local.database_accounts["dr-store"], google_service_account.backup.email,
    region == var.primary_region ? "default" : urlencode("region=${local.codes[region]}")
  )]

  # RPO after the loss of the whole database: 15 minutes.
  backup_schedule = format(
    "CREATE SCHEDULE IF NOT EXISTS movr FOR BACKUP DATABASE movr INTO (%s) WITH revision_history RECURRING '*/15 * * * *' FULL BACKUP '@daily' WITH SCHEDULE OPTIONS first_run = 'now', updates_cluster_last_backup_time_metric;",
    join(", ", local.backup_uris)
  )
}
