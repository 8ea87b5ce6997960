#!/usr/bin/env bash
# Brings dashboards and alerting rules into Kibana; run again, it changes nothing.
#
# Usage: KIBANA_URL=https://kibana.example:5601 KIBANA_API_KEY=… deploy/elastic/import.sh [saved-objects|api]
#
#   saved-objects   dashboards.ndjson, Kibana 8.9 on (the default)
#   api             the same by the Dashboards API, 9.5 on; the data view comes from dashboards.ndjson all the same
#
# KIBANA_SPACE names a space other than the default one. The key goes from the environment to curl's standard
# input: its command line can be read by everybody on the machine.
set -euo pipefail
cd "$(dirname "$0")"

form=${1:-saved-objects}
base=${KIBANA_URL:?where Kibana is, for example https://kibana.example:5601}
[ -z "${KIBANA_SPACE:-}" ] || base=$base/s/$KIBANA_SPACE

kibana() { # kibana PATH CURL-OPTION…: prints the answer, then its status on a line of its own
  printf '%s' "${KIBANA_API_KEY:+Authorization: ApiKey $KIBANA_API_KEY}" |
    curl --silent --show-error --max-time 60 --write-out '\n%{http_code}' -H @- -H 'kbn-xsrf: true' "${@:2}" "$base$1"
}

must() { # must NAME ANSWER: fails unless the status is 2xx
  case ${2##*$'\n'} in
    2??) echo "$1" ;;
    *) printf '%s: Kibana says %s\n' "$1" "$2" >&2; exit 1 ;;
  esac
}

json=(-H 'Content-Type: application/json')

answer=$(kibana '/api/saved_objects/_import?overwrite=true' --form file=@dashboards.ndjson)
must dashboards.ndjson "$answer"
# 200 does not mean that every object was taken.
case $answer in *'"success":true'*) ;; *) printf 'dashboards.ndjson: %s\n' "$answer" >&2; exit 1 ;; esac

if [ "$form" = api ]; then
  for file in api/*.json; do
    id=$(basename "$file" .json)
    must "$file" "$(kibana "/api/dashboards/$id" --request PUT "${json[@]}" --data-binary "@$file")"
  done
fi

for file in rules/*.json; do
  id=$(basename "$file" .json)
  answer=$(kibana "/api/alerting/rule/$id" --request POST "${json[@]}" --data-binary "@$file")
  # Rules that are there keep their connectors, which are the site's: to have one made anew, delete it.
  case ${answer##*$'\n'} in 409) echo "$file is there already" ;; *) must "$file" "$answer" ;; esac
done
