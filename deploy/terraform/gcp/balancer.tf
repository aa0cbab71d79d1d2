# One address for the world. The nearest region that is healthy serves.

resource "google_compute_global_address" "this" {
  for_each   = toset(["IPV4", "IPV6"])
  name       = "${var.name}-${lower(each.value)}"
  ip_version = each.value
  depends_on = [google_project_service.api]
}

resource "google_dns_record_set" "domain" {
  for_each     = { A = "IPV4", AAAA = "IPV6" }
  managed_zone = var.dns_zone
  name         = "${var.domain}."
  type         = each.key
  ttl          = 60
  rrdatas      = [google_compute_global_address.this[each.value].address]
}

resource "google_compute_region_network_endpoint_group" "region" {
  for_each              = local.regions
  name                  = "${var.name}-${each.value}"
  region                = each.value
  network_endpoint_type = "SERVERLESS"

  cloud_run {
    service = google_cloud_run_v2_service.web[each.value].name
  }
}

resource "google_compute_backend_service" "web" {
  name                  = var.name
  load_balancing_scheme = "EXTERNAL_MANAGED"
  protocol              = "HTTPS"
  security_policy       = google_compute_security_policy.web.id

  # Health by the readiness probes needs no health check here: each service reports its own through its group. A
  # region that answers errors all the same is left alone for a while.
  dynamic "backend" {
    for_each = local.regions
    content {
      group = google_compute_region_network_endpoint_group.region[backend.value].id
    }
  }

  outlier_detection {
    consecutive_errors           = 5
    enforcing_consecutive_errors = 100
    # Never all regions at once.
    max_ejection_percent = 50

    interval {
      seconds = 1
    }

    base_ejection_time {
      seconds = 30
    }
  }

  # The balancer puts them in place of what a client sent under these names. They choose the city of the first page
  # and the key of the throttle; probes come without them.
  custom_request_headers = [
    "X-Client-Address:{client_ip_address}",
    "X-Client-City:{client_city}",
    "X-Client-Coordinates:{client_city_lat_long}",
  ]

  # Each request is a line of its instance's log, in its region and without personal data. The balancer's log would
  # hold addresses of people everywhere, in one place.
  log_config {
    enable = false
  }
}

resource "google_compute_security_policy" "web" {
  name = var.name
  type = "CLOUD_ARMOR"
  #checkov:skip=CKV_GCP_73: no Java, hence no Log4j, runs behind it

  rule {
    description = "Requests of one address"
    priority    = 1000
    action      = "throttle"

    match {
      versioned_expr = "SRC_IPS_V1"
      config {
        src_ip_ranges = ["*"]
      }
    }

    rate_limit_options {
      conform_action = "allow"
      exceed_action  = "deny(429)"
      enforce_on_key = "IP"

      rate_limit_threshold {
        count        = var.requests_per_minute
        interval_sec = 60
      }
    }
  }

  rule {
    description = "Default"
    priority    = 2147483647
    action      = "allow"

    match {
      versioned_expr = "SRC_IPS_V1"
      config {
        src_ip_ranges = ["*"]
      }
    }
  }
}

resource "google_compute_managed_ssl_certificate" "web" {
  name = var.name

  managed {
    domains = [var.domain]
  }
}

resource "google_compute_ssl_policy" "web" {
  name            = var.name
  min_tls_version = "TLS_1_3"
  profile         = "RESTRICTED"
}

resource "google_compute_url_map" "https" {
  name            = "${var.name}-https"
  default_service = google_compute_backend_service.web.id

  # A client decides neither what is traced nor under which id its request is found. Cloud Run adds its own traceparent.
  header_action {
    request_headers_to_remove = ["traceparent", "tracestate", "x-request-id"]
  }
}

resource "google_compute_target_https_proxy" "web" {
  name             = var.name
  url_map          = google_compute_url_map.https.id
  ssl_certificates = [google_compute_managed_ssl_certificate.web.id]
  ssl_policy       = google_compute_ssl_policy.web.id
  # A request in early data may be sent twice by anybody who sees it.
  tls_early_data = "DISABLED"
}

resource "google_compute_global_forwarding_rule" "https" {
  for_each              = google_compute_global_address.this
  name                  = "${var.name}-https-${lower(each.key)}"
  load_balancing_scheme = "EXTERNAL_MANAGED"
  ip_address            = each.value.id
  port_range            = "443"
  target                = google_compute_target_https_proxy.web.id
}

resource "google_compute_url_map" "http" {
  name = "${var.name}-http"

  default_url_redirect {
    https_redirect         = true
    redirect_response_code = "MOVED_PERMANENTLY_DEFAULT"
    strip_query            = false
  }
}

resource "google_compute_target_http_proxy" "redirect" {
  name    = "${var.name}-redirect"
  url_map = google_compute_url_map.http.id
}

resource "google_compute_global_forwarding_rule" "http" {
  for_each              = google_compute_global_address.this
  name                  = "${var.name}-http-${lower(each.key)}"
  load_balancing_scheme = "EXTERNAL_MANAGED"
  ip_address            = each.value.id
  port_range            = "80"
  target                = google_compute_target_http_proxy.redirect.id
}
