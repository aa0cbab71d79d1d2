# Logs stay in the region in which they arise. The program writes no personal data into them; the platform's own log of
# requests has addresses and URLs, and is kept nowhere.

locals {
  # Other services of the project keep theirs where they were.
  own_logs = <<-EOT
    ((resource.type = "cloud_run_revision" AND resource.labels.service_name = "${var.name}")
      OR (resource.type = "cloud_run_job" AND resource.labels.job_name =~ "^${var.name}-(migrate|doctor)$"))
  EOT
}

resource "google_logging_project_bucket_config" "region" {
  for_each       = local.regions
  project        = var.project
  location       = each.value
  bucket_id      = var.name
  retention_days = 30

  cmek_settings {
    kms_key_name = google_kms_crypto_key.application[each.value].id
  }
  depends_on = [google_kms_crypto_key_iam_member.application]
}

resource "google_logging_project_sink" "region" {
  for_each    = local.regions
  name        = "${var.name}-${each.value}"
  destination = "logging.googleapis.com/${google_logging_project_bucket_config.region[each.value].id}"
  # A bucket of the same project needs no account that writes.
  unique_writer_identity = false
  filter                 = <<-EOT
    ${local.own_logs}
    resource.labels.location = "${each.value}"
    NOT log_id("run.googleapis.com/requests")
  EOT
}

# Else they are also in _Default, which is in no region.
resource "google_logging_project_exclusion" "default" {
  name       = var.name
  filter     = local.own_logs
  depends_on = [google_logging_project_sink.region]
}
