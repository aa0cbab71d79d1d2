resource "google_compute_network" "this" {
  name                    = var.name
  auto_create_subnetworks = false
  depends_on              = [google_project_service.api]
}

resource "google_compute_subnetwork" "region" {
  for_each                 = local.regions
  name                     = "${var.name}-${each.value}"
  region                   = each.value
  network                  = google_compute_network.this.id
  ip_cidr_range            = "10.${10 + index(var.regions, each.value)}.0.0/20"
  private_ip_google_access = true
  #checkov:skip=CKV_GCP_76: the network has no IPv6

  log_config {
    aggregation_interval = "INTERVAL_5_MIN"
    # Between regions it is metered by the bytes of these: src_subnet and dest of each flow.
    flow_sampling = 0.1
    metadata      = "INCLUDE_ALL_METADATA"
  }
}

# Out of the network goes what the instances need: names are answered by the platform, the rest is the database (26257)
# and the collector of traces (4318), both in these subnetworks.
resource "google_compute_firewall" "egress" {
  name               = "${var.name}-egress"
  network            = google_compute_network.this.id
  direction          = "EGRESS"
  priority           = 1000
  destination_ranges = [for subnet in google_compute_subnetwork.region : subnet.ip_cidr_range]

  allow {
    protocol = "tcp"
    ports    = ["26257", "4318"]
  }
}

resource "google_compute_firewall" "deny_egress" {
  name               = "${var.name}-deny-egress"
  network            = google_compute_network.this.id
  direction          = "EGRESS"
  priority           = 65000
  destination_ranges = ["0.0.0.0/0"]

  deny {
    protocol = "all"
  }
}

# Private Service Connect: an address in each region behind which the region's database nodes are. The others reach it
# too, for rows that live there: a gateway over there answers in one crossing.
resource "google_compute_address" "database" {
  for_each     = local.regions
  name         = "${var.name}-database"
  region       = each.value
  subnetwork   = google_compute_subnetwork.region[each.value].id
  address_type = "INTERNAL"
}

resource "google_compute_forwarding_rule" "database" {
  for_each                = local.regions
  name                    = "${var.name}-database"
  region                  = each.value
  network                 = google_compute_network.this.id
  ip_address              = google_compute_address.database[each.value].id
  target                  = cockroach_private_endpoint_services.this.services_map[each.value].name
  load_balancing_scheme   = ""
  allow_psc_global_access = true
}

resource "cockroach_private_endpoint_connection" "database" {
  for_each    = local.regions
  cluster_id  = cockroach_cluster.this.id
  endpoint_id = google_compute_forwarding_rule.database[each.value].psc_connection_id
}

# The names in the certificates of the nodes, for sslmode=verify-full.
resource "google_dns_managed_zone" "database" {
  for_each   = local.regions
  name       = "${var.name}-database-${each.value}"
  dns_name   = "${local.database_hosts[each.value]}."
  visibility = "private"
  #checkov:skip=CKV_GCP_16: a private zone cannot be signed, only its own network asks it

  private_visibility_config {
    networks {
      network_url = google_compute_network.this.id
    }
  }
}

resource "google_dns_record_set" "database" {
  for_each     = local.regions
  managed_zone = google_dns_managed_zone.database[each.value].name
  name         = google_dns_managed_zone.database[each.value].dns_name
  type         = "A"
  ttl          = 60
  rrdatas      = [google_compute_address.database[each.value].address]
}
