variable "name" {
  description = "Name of the machine."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$", var.name))
    error_message = "name is a DNS label (RFC 1123) that begins with a letter."
  }
}

variable "user_data" {
  description = "cloud-init user data of the machine."
  type        = string
  sensitive   = true
  nullable    = false

  validation {
    condition     = startswith(var.user_data, "#cloud-config\n")
    error_message = "user_data must begin with #cloud-config."
  }
}

variable "meta_data" {
  description = "cloud-init meta data of the machine."
  type        = string
  nullable    = false

  validation {
    condition     = can(yamldecode(var.meta_data)["instance-id"])
    error_message = "meta_data must hold an instance-id."
  }
}

variable "folder" {
  description = "Folder that receives the seeds, one folder per machine. It holds secrets: an encrypted disk, not in the repository."
  type        = string
  nullable    = false

  validation {
    condition     = length(var.folder) > 1
    error_message = "folder must not be empty nor the root."
  }
}
