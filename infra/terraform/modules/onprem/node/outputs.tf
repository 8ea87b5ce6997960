output "seed" {
  description = "Folder of the machine's seed."
  value       = "${var.folder}/${var.name}"
}
