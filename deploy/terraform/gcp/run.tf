# One service per region, not one multi-region service: its regions share one configuration and one account, and here
# each has its own nodes, secrets, keys and account.

resource "google_artifact_registry_repository" "region" {
  for_each      = local.regions
  repository_id = var.name
  location      = each.value
  format        = "DOCKER"
  kms_key_name  = google_kms_crypto_key.application[each.value].id

  docker_config {
    immutable_tags = true
  }
  depends_on = [google_kms_crypto_key_iam_member.application]
}

locals {
  images = {
    for region in var.regions :
    region => "${region}-docker.pkg.dev/${var.project}/${var.name}/movr@${var.image}"
  }

  # What an instance is told beside its secrets.
  web_settings = { for region in var.regions : region => merge({
    MOVR_REGION         = local.codes[region]
    MOVR_PUBLIC_URL     = "https://${var.domain}"
    MOVR_LISTEN         = "0.0.0.0:8080"
    MOVR_METRICS_LISTEN = "127.0.0.1:9090"
    MOVR_LOG_FORMAT     = "json"
    MOVR_POOL_SIZE      = tostring(var.pool_size)
    # Requests come from the platform's front end, which has a link-local address, and there from the balancer,
    # which sets these headers whatever the client sent.
    MOVR_TRUSTED_PROXIES           = "169.254.0.0/16"
    MOVR_CLIENT_ADDRESS_HEADER     = "X-Client-Address"
    MOVR_CLIENT_CITY_HEADER        = "X-Client-City"
    MOVR_CLIENT_COORDINATES_HEADER = "X-Client-Coordinates"
    # Cloud Run sends an instance no request after SIGTERM, and ends it 10 s later.
    MOVR_DRAIN_DELAY_MS      = "0"
    MOVR_SHUTDOWN_TIMEOUT_MS = "9000"
    # The front end decides when a connection ends.
    MOVR_KEEP_ALIVE_S = "620"
    }, contains(keys(var.otlp_endpoint), region) ? {
    OTEL_EXPORTER_OTLP_ENDPOINT = var.otlp_endpoint[region]
    } : {})
  }
}

resource "google_service_account" "web" {
  for_each     = local.regions
  account_id   = "${var.name}-${each.value}"
  display_name = "Instances in ${each.value}"
}

resource "google_secret_manager_secret_iam_member" "web" {
  for_each  = local.web_secrets
  secret_id = google_secret_manager_secret.web[each.key].id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.web[each.value.region].member
}

resource "google_secret_manager_secret_iam_member" "file" {
  for_each  = google_secret_manager_secret.file
  secret_id = each.value.id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.web[split("/", each.key)[0]].member
}

resource "google_project_iam_member" "web_metrics" {
  for_each = local.regions
  project  = var.project
  role     = "roles/monitoring.metricWriter"
  member   = google_service_account.web[each.value].member
}

resource "google_cloud_run_v2_service" "web" {
  for_each             = local.regions
  name                 = var.name
  location             = each.value
  ingress              = "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER"
  default_uri_disabled = true
  # Whoever comes through the balancer may ask; nobody else gets here.
  invoker_iam_disabled = true
  deletion_protection  = true

  template {
    service_account       = google_service_account.web[each.value].email
    execution_environment = "EXECUTION_ENVIRONMENT_GEN2"
    encryption_key        = google_kms_crypto_key.application[each.value].id
    # The longest request: an import is given 120 s, its answer a little more.
    timeout = "150s"
    # A page holds a connection of the pool for a few milliseconds.
    max_instance_request_concurrency = 80

    scaling {
      min_instance_count = var.min_instances
      # The nodes of a region see max * pool + 2 * max * (pool / 4) connections, 84 by default; four for each of
      # their vCPUs, 96 by default, may be active.
      max_instance_count = var.max_instances
    }

    vpc_access {
      egress = "PRIVATE_RANGES_ONLY"
      network_interfaces {
        network    = google_compute_network.this.id
        subnetwork = google_compute_subnetwork.region[each.value].id
      }
    }

    containers {
      name  = "movr"
      image = local.images[each.value]
      args  = ["serve"]

      ports {
        container_port = 8080
      }

      resources {
        limits = { cpu = "2", memory = "512Mi" }
        # Between requests, too, jobs are worked on and regions are probed.
        cpu_idle          = false
        startup_cpu_boost = true
      }

      dynamic "env" {
        for_each = local.web_settings[each.value]
        content {
          name  = env.key
          value = env.value
        }
      }

      dynamic "env" {
        for_each = { for key, secret in local.web_secrets : secret.variable => key if secret.region == each.value }
        content {
          name = env.key
          value_source {
            secret_key_ref {
              secret  = google_secret_manager_secret.web[env.value].secret_id
              version = google_secret_manager_secret_version.web[env.value].version
            }
          }
        }
      }

      # Warming up may take 30 s, then the process ends by itself.
      startup_probe {
        period_seconds    = 3
        timeout_seconds   = 2
        failure_threshold = 14
        http_get {
          path = "/readyz"
        }
      }

      # The health of the region: with fewer than 60 % of its instances ready, the balancer sends requests to the
      # next region.
      readiness_probe {
        period_seconds    = 5
        timeout_seconds   = 3
        failure_threshold = 2
        success_threshold = 2
        http_get {
          path = "/readyz"
        }
      }

      # Does not ask the database: a lost region is no reason to restart.
      liveness_probe {
        period_seconds    = 10
        timeout_seconds   = 3
        failure_threshold = 3
        http_get {
          path = "/healthz"
        }
      }

      volume_mounts {
        name       = "database-ca"
        mount_path = local.ca_path
      }
    }

    # Reads the instance's metrics, which no other network reaches, and writes them to Managed Prometheus.
    containers {
      name       = "metrics"
      image      = "us-docker.pkg.dev/cloud-ops-agents-artifacts/cloud-run-gmp-sidecar/cloud-run-gmp-sidecar:1.2.0"
      depends_on = ["movr"]

      resources {
        limits   = { cpu = "1", memory = "256Mi" }
        cpu_idle = false
      }

      volume_mounts {
        name       = "run-monitoring"
        mount_path = "/etc/rungmp"
      }
    }

    volumes {
      name = "database-ca"
      secret {
        secret = google_secret_manager_secret.file["${each.value}/database-ca"].secret_id
        items {
          version = google_secret_manager_secret_version.file["${each.value}/database-ca"].version
          path    = "ca.crt"
        }
      }
    }

    volumes {
      name = "run-monitoring"
      secret {
        secret = google_secret_manager_secret.file["${each.value}/run-monitoring"].secret_id
        items {
          version = google_secret_manager_secret_version.file["${each.value}/run-monitoring"].version
          path    = "config.yaml"
        }
      }
    }
  }

  depends_on = [
    google_secret_manager_secret_iam_member.web,
    google_secret_manager_secret_iam_member.file,
    google_dns_record_set.database,
    cockroach_private_endpoint_connection.database,
  ]
}

# `movr doctor` and `movr verify-locality` from where an instance stands, with its account, settings and secrets: nothing
# else reaches the private addresses of the nodes. It serves nobody and runs when it is asked to.
resource "google_cloud_run_v2_job" "doctor" {
  for_each            = local.regions
  name                = "${var.name}-doctor"
  location            = each.value
  deletion_protection = false

  template {
    template {
      service_account       = google_service_account.web[each.value].email
      execution_environment = "EXECUTION_ENVIRONMENT_GEN2"
      encryption_key        = google_kms_crypto_key.application[each.value].id
      timeout               = "600s"
      # What it finds is no accident that another try would cure.
      max_retries = 0

      vpc_access {
        egress = "PRIVATE_RANGES_ONLY"
        network_interfaces {
          network    = google_compute_network.this.id
          subnetwork = google_compute_subnetwork.region[each.value].id
        }
      }

      containers {
        image = local.images[each.value]
        args  = ["doctor"]

        dynamic "env" {
          for_each = local.web_settings[each.value]
          content {
            name  = env.key
            value = env.value
          }
        }

        dynamic "env" {
          for_each = { for key, secret in local.web_secrets : secret.variable => key if secret.region == each.value }
          content {
            name = env.key
            value_source {
              secret_key_ref {
                secret  = google_secret_manager_secret.web[env.value].secret_id
                version = google_secret_manager_secret_version.web[env.value].version
              }
            }
          }
        }

        resources {
          limits = { cpu = "1", memory = "512Mi" }
        }

        volume_mounts {
          name       = "database-ca"
          mount_path = local.ca_path
        }
      }

      volumes {
        name = "database-ca"
        secret {
          secret = google_secret_manager_secret.file["${each.value}/database-ca"].secret_id
          items {
            version = google_secret_manager_secret_version.file["${each.value}/database-ca"].version
            path    = "ca.crt"
          }
        }
      }
    }
  }

  depends_on = [
    google_secret_manager_secret_iam_member.web,
    google_secret_manager_secret_iam_member.file,
    google_dns_record_set.database,
    cockroach_private_endpoint_connection.database,
  ]
}

# Once per release, before the services: `gcloud run jobs execute`. Its account reads the migrator's secret, which no
# instance may read, and none of the instances'.
resource "google_service_account" "migrate" {
  account_id   = "${var.name}-migrate"
  display_name = "Migrations"
}

resource "google_secret_manager_secret_iam_member" "migrate" {
  for_each = merge(
    google_secret_manager_secret.migrate,
    { database-ca = google_secret_manager_secret.file["${var.primary_region}/database-ca"] }
  )
  secret_id = each.value.id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.migrate.member
}

resource "google_cloud_run_v2_job" "migrate" {
  name                = "${var.name}-migrate"
  location            = var.primary_region
  deletion_protection = false

  template {
    template {
      service_account       = google_service_account.migrate.email
      execution_environment = "EXECUTION_ENVIRONMENT_GEN2"
      encryption_key        = google_kms_crypto_key.application[var.primary_region].id
      timeout               = "3600s"
      max_retries           = 1

      vpc_access {
        egress = "PRIVATE_RANGES_ONLY"
        network_interfaces {
          network    = google_compute_network.this.id
          subnetwork = google_compute_subnetwork.region[var.primary_region].id
        }
      }

      containers {
        image = local.images[var.primary_region]
        args  = ["migrate", "--catalog=/etc/movr/catalogue/catalog.toml", "--roles=${var.application_role}"]

        env {
          name  = "MOVR_LOG_FORMAT"
          value = "json"
        }

        env {
          name = "DATABASE_URL"
          value_source {
            secret_key_ref {
              secret  = google_secret_manager_secret.migrate["database-url"].secret_id
              version = google_secret_manager_secret_version.migrate_database_url.version
            }
          }
        }

        resources {
          limits = { cpu = "1", memory = "512Mi" }
        }

        volume_mounts {
          name       = "database-ca"
          mount_path = local.ca_path
        }

        volume_mounts {
          name       = "catalogue"
          mount_path = "/etc/movr/catalogue"
        }
      }

      volumes {
        name = "database-ca"
        secret {
          secret = google_secret_manager_secret.file["${var.primary_region}/database-ca"].secret_id
          items {
            version = google_secret_manager_secret_version.file["${var.primary_region}/database-ca"].version
            path    = "ca.crt"
          }
        }
      }

      volumes {
        name = "catalogue"
        secret {
          secret = google_secret_manager_secret.migrate["catalogue"].secret_id
          items {
            version = google_secret_manager_secret_version.catalogue.version
            path    = "catalog.toml"
          }
        }
      }
    }
  }

  depends_on = [
    google_secret_manager_secret_iam_member.migrate,
    google_dns_record_set.database,
    cockroach_private_endpoint_connection.database,
    cockroach_cmek.this,
  ]
}
