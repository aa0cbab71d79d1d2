terraform {
  # Write-only arguments: the values of secrets do not get into the state.
  required_version = ">= 1.11"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 7.45"
    }
    # Only for google_project_service_identity, which is nowhere else.
    google-beta = {
      source  = "hashicorp/google-beta"
      version = "~> 7.45"
    }
    cockroach = {
      source  = "cockroachdb/cockroach"
      version = "~> 1.22"
    }
    time = {
      source  = "hashicorp/time"
      version = "~> 0.13"
    }
  }

  # The state names every part, and holds the migrator's first password: keep it in a private bucket of your own,
  # `terraform init -backend-config=bucket=NAME`.
  backend "gcs" {
    prefix = "movr"
  }
}

provider "google" {
  project = var.project
  region  = var.primary_region
}

provider "google-beta" {
  project = var.project
}

# Reads COCKROACH_API_KEY.
provider "cockroach" {}
