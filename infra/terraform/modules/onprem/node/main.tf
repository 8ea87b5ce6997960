# A NoCloud seed: the two files that cloud-init reads from a medium labelled CIDATA, or over HTTPS, at the first boot. No SSH.
resource "local_sensitive_file" "user_data" {
  filename             = "${var.folder}/${var.name}/user-data"
  content              = var.user_data
  file_permission      = "0600"
  directory_permission = "0700"
}

resource "local_sensitive_file" "meta_data" {
  filename             = "${var.folder}/${var.name}/meta-data"
  content              = var.meta_data
  file_permission      = "0600"
  directory_permission = "0700"
}
