data "google_project" "this" {}

locals {
  regions = toset(var.regions)
  number  = data.google_project.this.number

  # In one direction once, for the variables MOVR_DATABASE_URL_<REGION>: { us-east1 = ["us-west1", ...], ... }.
  others = { for region in var.regions : region => [for other in var.regions : other if other != region] }
}

resource "google_project_service" "api" {
  for_each = toset([
    "artifactregistry.googleapis.com",
    "cloudkms.googleapis.com",
    "compute.googleapis.com",
    "dns.googleapis.com",
    "logging.googleapis.com",
    "monitoring.googleapis.com",
    "run.googleapis.com",
    "secretmanager.googleapis.com",
  ])
  service            = each.value
  disable_on_destroy = false
}
