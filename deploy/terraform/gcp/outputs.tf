output "addresses" {
  description = "Of the balancer; the domain's records point at them."
  value       = { for version, address in google_compute_global_address.this : version => address.address }
}

output "repositories" {
  description = "Where a release pushes its image, one in each region."
  value = {
    for region in var.regions : region => "${region}-docker.pkg.dev/${var.project}/${var.name}/movr"
  }
}

output "migrate" {
  description = "The command that a release runs before `terraform apply`."
  value = format(
    "gcloud run jobs execute %s --region %s --project %s --wait",
    google_cloud_run_v2_job.migrate.name, var.primary_region, var.project
  )
}

output "database_sql_host" {
  description = "For people of admin_networks; instances use the private addresses."
  value       = one([for region in cockroach_cluster.this.regions : region.sql_dns if region.name == var.primary_region])
}

output "database_hosts" {
  description = "Private name of each region's nodes."
  value       = local.database_hosts
}

output "backup_schedule" {
  description = "SQL that the migrator runs once: each region's nodes write into their region's bucket."
  value       = local.backup_schedule
}

output "connections" {
  description = "Most connections that the nodes of one region can get, and how many may be active at once."
  value = {
    most   = var.max_instances * (var.pool_size + (length(var.regions) - 1) * max(floor(var.pool_size / 4), 2))
    active = 4 * var.database_nodes * var.database_vcpus
  }
}
