#!/usr/bin/env bash
# Usage: validate.sh [--require-providers] [--mutations] [--checkov] [FOLDER…]
# Formats, validates and tests every module and example of infra/terraform, without an account and without credentials. A laptop and CI
# run the same. Providers come from wherever TF_CLI_CONFIG_FILE says (a mirror), else from the registry; where neither answers, what
# needs a provider is skipped and named, unless --require-providers. --mutations shows that the tests notice when protection is taken
# away; --checkov runs checkov where it is installed. Works on a copy: no lock files, no .terraform in the tree.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
repository=$(cd "$here/../.." && pwd -P)
python=$(command -v python3 || command -v python)

require=false mutations=false checkov=false folders=()
for argument; do
  case $argument in
    --require-providers) require=true ;;
    --mutations) mutations=true ;;
    --checkov) checkov=true ;;
    -*) sed -n '2,7s/^# //p' "$0"; exit 2 ;;
    *) folders+=("${argument#"$here"/}") ;;
  esac
done

if ! command -v terraform >/dev/null; then
  echo "terraform is not installed: https://developer.hashicorp.com/terraform/install (1.11 or later), or: brew install hashicorp/tap/terraform" >&2
  $require && exit 1
  echo "skipped: infra/terraform" >&2
  exit 0
fi
terraform version | sed -n 1p # not head, which would end terraform by a broken pipe

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -R "$here/." "$work/terraform"
find "$work/terraform" \( -name .terraform -o -name .terraform.lock.hcl -o -name 'terraform.tfstate*' \) -prune -exec rm -rf {} +
export TF_IN_AUTOMATION=1 TF_INPUT=0 CHECKPOINT_DISABLE=1 AWS_EC2_METADATA_DISABLED=true
if [ -z "${TF_CLI_CONFIG_FILE:-}" ]; then # from the registry each provider is fetched once, not once per folder
  export TF_PLUGIN_CACHE_DIR=${TF_PLUGIN_CACHE_DIR:-$work/plugins}
  mkdir -p "$TF_PLUGIN_CACHE_DIR"
fi

terraform fmt -check -diff -recursive "$here" || { echo "run: terraform fmt -recursive infra/terraform" >&2; exit 1; }
"$python" "$repository/scripts/terraform_modules.py" --check "$here"

if [ ${#folders[@]} -eq 0 ]; then
  mapfile -t folders < <(cd "$work/terraform" && find . -name versions.tf -exec dirname {} \; | sed 's,^\./,,' | sort)
fi
passed=0 failed=() skipped=()
for folder in "${folders[@]}"; do
  cd "$work/terraform/$folder"
  if ! terraform init -backend=false -no-color >"$work/init" 2>&1; then
    if grep -qE 'Failed to query available provider packages|could not (connect|query)|provider registry|not available' "$work/init" && ! $require; then
      skipped+=("$folder"); echo "skip  $folder"; continue
    fi
    cat "$work/init"; failed+=("$folder"); echo "FAIL  $folder (init)"; continue
  fi
  if ! terraform validate -no-color >"$work/validate" 2>&1; then
    cat "$work/validate"; failed+=("$folder"); echo "FAIL  $folder (validate)"; continue
  fi
  if ! compgen -G './*.tftest.hcl' >/dev/null && ! compgen -G './tests/*.tftest.hcl' >/dev/null; then
    passed=$((passed + 1)); echo "ok    $folder: valid"; continue
  fi
  # An example is tested with the very values that it shows.
  values=()
  for file in site.tfvars release.tfvars; do if [ -f "$file" ]; then values+=("-var-file=$file"); fi; done
  if terraform test -no-color "${values[@]}" >"$work/test" 2>&1; then
    passed=$((passed + 1)); echo "ok    $folder: $(tail -1 "$work/test")"
  else
    cat "$work/test"; failed+=("$folder"); echo "FAIL  $folder (test)"
  fi
done

cd "$repository"
if $mutations; then "$python" scripts/terraform_mutations.py "$work/terraform" || failed+=(mutations); fi
if $checkov; then
  if command -v checkov >/dev/null; then
    checkov --directory "$here" --quiet --compact --config-file "$here/.checkov.yaml" || failed+=(checkov)
  else
    echo "checkov is not installed (skipped): pipx install checkov"
  fi
fi

if [ ${#skipped[@]} -gt 0 ]; then
  echo "skipped, for want of a provider: ${skipped[*]}"
  echo "  no registry answered and no mirror has it; point TF_CLI_CONFIG_FILE at a CLI configuration with a provider mirror"
fi
echo "$passed folders passed, ${#failed[@]} failed, ${#skipped[@]} skipped"
[ ${#failed[@]} -eq 0 ]
