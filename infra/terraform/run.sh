#!/usr/bin/env bash
# run.sh new EXAMPLE SITE        copy live/EXAMPLE-example and a platform for it to live/SITE and live/SITE-platform; names the values
# run.sh up SITE [MEDIUM]        bring both up: the site, then, when its API answers, the platform on it; before that, what
#                                deploy/courier.py has loaded onto a medium goes into the site's registry
# run.sh plan|apply ROOT [SITE]  one of them; a platform's root is given the SITE that it stands on, and takes what that hands over
#
# A root's values are site.tfvars, release.tfvars and backend.hcl, where it has them. `apply` makes a plan, asks where somebody can
# answer, and applies exactly that; the plan is thrown away, for it may hold secrets. Two roots, for providers must not be configured
# from what the same apply creates.
set -euo pipefail
cd "$(dirname "$0")/live"
umask 077
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

root() { # VERB ROOT [SITE]
  local init=() values=() output file answer
  if [ -n "${3:-}" ]; then
    for output in handover credentials; do
      printf '{"%s": %s}\n' "$output" "$(terraform -chdir="$3" output -json "$output")" > "$2/$output.auto.tfvars.json"
    done
  fi
  if [ -f "$2/backend.hcl" ]; then init+=(-backend-config=backend.hcl); fi
  # A root that is kept in a repository keeps its lock file, too.
  if [ -f "$2/.terraform.lock.hcl" ]; then init+=(-lockfile=readonly); fi
  for file in site.tfvars release.tfvars; do if [ -f "$2/$file" ]; then values+=("-var-file=$file"); fi; done

  terraform -chdir="$2" init -input=false "${init[@]}"
  terraform -chdir="$2" plan -input=false -lock-timeout=5m "${values[@]}" -out="$work/plan"
  if [ "$1" = apply ]; then
    if [ -t 0 ]; then read -rp "Apply this to $2? Only 'yes' will do: " answer; [ "$answer" = yes ]; fi
    terraform -chdir="$2" apply -input=false "$work/plan"
  fi
}

# Machines on premises set themselves up at their first boot, from a medium that somebody attaches.
media() { # SITE
  local host
  for host in "$1"/seeds/*/; do
    xorriso -as mkisofs -quiet -volid CIDATA -joliet -rock -output "${host%/}.iso" "$host/user-data" "$host/meta-data"
  done
  echo "live/$1/seeds has an image for each machine: attach them (virtual CD, USB) and start the machines, the first server first." >&2
}

answers() { # SITE: wait for the Kubernetes API, as the administrator whom the site has made
  local seconds=${WAIT_SECONDS:-7200} api
  terraform -chdir="$1" output -json handover > "$work/handover"
  terraform -chdir="$1" output -json credentials > "$work/credentials"
  api=$(python3 - "$work" <<'PY'
import json, pathlib, sys
work = pathlib.Path(sys.argv[1])
handover, credentials = (json.loads((work / name).read_text()) for name in ("handover", "credentials"))
if credentials.get("client_certificate"):
    for name, text in {"ca": handover["api"]["ca_certificate"], "cert": credentials["client_certificate"], "key": credentials["client_key"]}.items():
        (work / f"{name}.pem").write_text(text)
    print(handover["api"]["endpoint"])
PY
  )
  if [ -z "$api" ]; then return; fi # EKS: ready when it is made
  echo "waiting for $api, $seconds s at the most (WAIT_SECONDS)" >&2
  until curl --silent --fail --output /dev/null --max-time 10 --cacert "$work/ca.pem" --cert "$work/cert.pem" --key "$work/key.pem" "$api/readyz"; do
    if [ "$SECONDS" -gt "$seconds" ]; then echo "$api does not answer; run this again when it does" >&2; exit 1; fi
    sleep 5
  done
}

case ${1:-} in
  new)
    example=${2:?example} site=${3:?site}
    if [ -e "$site" ] || [ -e "$site-platform" ]; then echo "live/$site is there already" >&2; exit 1; fi
    cp -R "$example-example" "$site"
    cp -R platform-example "$site-platform"
    rm -rf {"$site","$site-platform"}/{.terraform,.terraform.lock.hcl,seeds,*.tfstate*,*.auto.tfvars.json,example.tftest.hcl}
    sed -i.bak "s,/overlays/[a-z-]*\",/overlays/$example\"," "$site-platform/release.tfvars" && rm "$site-platform/release.tfvars.bak"
    for file in "$site/site.tfvars" "$site/backend.hcl" "$site-platform/release.tfvars" "$site-platform/cosign.pub"; do
      if [ -f "$file" ]; then echo "fill in: infra/terraform/live/$file"; fi
    done
    if [ ! -f "$site-platform/cosign.pub" ]; then echo "put in:  infra/terraform/live/$site-platform/cosign.pub (cosign generate-key-pair)"; fi ;;
  up)
    site=${2:?site} medium=${3:+$(cd "$OLDPWD" && realpath "$3")}
    root apply "$site"
    if [ -n "$medium" ]; then
      prefix=$(terraform -chdir="$site" output -json handover | python3 -c 'import json, sys; print(json.load(sys.stdin)["registry"]["prefix"])')
      python3 ../../../deploy/courier.py unload "$medium" "$prefix/manifests"
    fi
    if [ -d "$site/seeds" ]; then media "$site"; fi
    answers "$site"
    root apply "$site-platform" "$site" ;;
  plan | apply) root "$1" "${2:?root}" "${3:-}" ;;
  *) sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
