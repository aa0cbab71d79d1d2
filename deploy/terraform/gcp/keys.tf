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

# Google's own accounts that encrypt for us: these two are made only when one asks for them, the others are there.
resource "google_project_service_identity" "agent" {
  provider   = google-beta
  for_each   = toset(["artifactregistry", "secretmanager"])
  service    = "${each.value}.googleapis.com"
  depends_on = [google_project_service.api]
}

data "google_storage_project_service_account" "this" {
  depends_on = [google_project_service.api]
}

locals {
  service_agents = {
    artifactregistry = google_project_service_identity.agent["artifactregistry"].member
    logging          = "serviceAccount:${data.google_logging_project_cmek_settings.this.service_account_id}"
    run              = "serviceAccount:service-${data.google_project.this.number}@serverless-robot-prod.iam.gserviceaccount.com"
    secretmanager    = google_project_service_identity.agent["secretmanager"].member
    storage          = data.google_storage_project_service_account.this.member
  }
}

# A service without its right fails when it is made.
resource "google_kms_crypto_key_iam_member" "application" {
  for_each = {
    for pair in setproduct(var.regions, ["artifactregistry", "logging", "run", "secretmanager", "storage"]) :
    "${pair[0]}/${pair[1]}" => { region = pair[0], service = pair[1] }
  }
  crypto_key_id = google_kms_crypto_key.application[each.value.region].id
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = local.service_agents[each.value.service]
}
