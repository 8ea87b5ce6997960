# The seed of one machine.
mock_provider "local" {}

variables {
  name      = "s1"
  user_data = "#cloud-config\n{}\n"
  meta_data = "instance-id: s1-0123\n"
  folder    = "/var/lib/bedside/seeds"
}

run "writes_a_seed_that_only_its_owner_reads" {
  command = plan

  assert {
    condition     = local_sensitive_file.user_data.filename == "/var/lib/bedside/seeds/s1/user-data" && local_sensitive_file.meta_data.filename == "/var/lib/bedside/seeds/s1/meta-data"
    error_message = "cloud-init looks for user-data and meta-data side by side."
  }
  assert {
    condition     = local_sensitive_file.user_data.file_permission == "0600" && local_sensitive_file.user_data.directory_permission == "0700"
    error_message = "A seed holds tokens and keys."
  }
}

run "refuses_name_with_dots" {
  command = plan

  variables {
    name = "s1.example"
  }

  expect_failures = [var.name]
}

run "refuses_user_data_that_is_a_script" {
  command = plan

  variables {
    user_data = "#!/bin/sh\n"
  }

  expect_failures = [var.user_data]
}

run "refuses_meta_data_without_instance" {
  command = plan

  variables {
    meta_data = "local-hostname: s1\n"
  }

  expect_failures = [var.meta_data]
}

run "refuses_the_root_folder" {
  command = plan

  variables {
    folder = "/"
  }

  expect_failures = [var.folder]
}
