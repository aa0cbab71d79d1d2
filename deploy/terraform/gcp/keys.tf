# Encryption at rest: one key ring per region, whose keys never leave it. Whoever disables a region's keys makes that
# region's data unreadable, and no other's.

resource "google_kms_key_ring" "region" {
  for_each   = local.regions
  name       = var.name
  location   = each.value
  depends_on = [google_project_service.api]
}

# Secrets, images, logs, backups and containers.
resource "google_kms_crypto_key" "application" {
  for_each        = local.regions
  name            = "application"
  key_ring        = google_kms_key_ring.region[each.value].id
  rotation_period = "7776000s" # 90 days

  lifecycle {
    prevent_destroy = true
  }
}

# The disks of the region's database nodes.
resource "google_kms_crypto_key" "database" {
  for_each        = local.regions
  name            = "database"
  key_ring        = google_kms_key_ring.region[each.value].id
  rotation_period = "7776000s" # 90 days

  lifecycle {
    prevent_destroy = true
  }
}

data "google_logging_project_cmek_settings" "this" {
  project    = var.project
  depends_on = [google_project_service.api]
}

# Google's own accounts that encrypt for us; a service without its right fails when it is made.
locals {
  service_agents = {
    artifactregistry = "service-${local.number}@gcp-sa-artifactregistry.iam.gserviceaccount.com"
    logging          = data.google_logging_project_cmek_settings.this.service_account_id
    run              = "service-${local.number}@serverless-robot-prod.iam.gserviceaccount.com"
    secretmanager    = "service-${local.number}@gcp-sa-secretmanager.iam.gserviceaccount.com"
    storage          = "service-${local.number}@gs-project-accounts.iam.gserviceaccount.com"
  }
}

resource "google_kms_crypto_key_iam_member" "application" {
  for_each = {
    for pair in setproduct(var.regions, ["artifactregistry", "logging", "run", "secretmanager", "storage"]) :
    "${pair[0]}/${pair[1]}" => { region = pair[0], service = pair[1] }
  }
  crypto_key_id = google_kms_crypto_key.application[each.value.region].id
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = "serviceAccount:${local.service_agents[each.value.service]}"
}
