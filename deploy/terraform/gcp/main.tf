data "google_project" "this" {}

locals {
  regions = toset(var.regions)

  # A region as the database and the catalogue name it, and as a variable does: gcp-us-east1, GCP_US_EAST1.
  codes     = { for region in var.regions : region => "${var.code_prefix}${region}" }
  variables = { for region, code in local.codes : region => "MOVR_DATABASE_URL_${upper(replace(code, "-", "_"))}" }

  # The catalogue with the codes and the address of this deployment.
  catalogue = replace(
    replace(file(var.catalogue), "/\\b(${join("|", var.regions)})\\b/", "${var.code_prefix}$1"),
    "/base_url = \"[^\"]*\"/", "base_url = \"https://${var.domain}\""
  )
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
    # Private Service Connect registers its endpoints there.
    "servicedirectory.googleapis.com",
    "storage.googleapis.com",
  ])
  service            = each.value
  disable_on_destroy = false
}
