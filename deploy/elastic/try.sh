#!/usr/bin/env bash
# Brings dashboards and rules into a real Kibana and asks it back; the nightly workflow runs it. Made-up log lines go before it.
#
# Usage: KIBANA_URL=http://127.0.0.1:5601 ELASTICSEARCH_URL=http://127.0.0.1:9200 deploy/elastic/try.sh [--dashboards-api]
set -euo pipefail
cd "$(dirname "$0")/../.."

elasticsearch=${ELASTICSEARCH_URL:-http://127.0.0.1:9200}
kibana=${KIBANA_URL:-http://127.0.0.1:5601}
install=(.venv/bin/bedside observability install --kibana-url "$kibana" "$@")
stream=$elasticsearch/logs-bedside-nightly

echo "── waiting for Kibana"
curl --silent --fail --output /dev/null --retry 60 --retry-delay 5 --retry-all-errors --max-time 10 "$kibana/api/status"

echo "── log lines of a made-up month"
.venv/bin/python tests/assets/logs/make_logs.py | sed 's/^/{"create":{}}\n/' > lines.ndjson
answer=$(curl --silent --fail --max-time 120 -H 'Content-Type: application/x-ndjson' --data-binary @lines.ndjson "$stream/_bulk?refresh=true")
rm lines.ndjson
case $answer in *'"errors":false'*) ;; *) printf 'bulk: %.2000s\n' "$answer" >&2; exit 1 ;; esac

echo "── install, twice: the second time it changes nothing; then rules made anew"
"${install[@]}"
"${install[@]}" > /dev/null
"${install[@]}" --replace-rules > /dev/null

echo "── what Kibana has of it"
exported=$(curl --silent --fail --max-time 60 -H 'kbn-xsrf: true' -H 'Content-Type: application/json' \
  --data '{"type": ["dashboard"], "includeReferencesDeep": true}' "$kibana/api/saved_objects/_export")
for id in bedside-service-health bedside-model-performance bedside-delivery bedside-audit bedside-logs; do
  case $exported in *"\"id\":\"$id\""*) echo "$id" ;; *) echo "$id is missing" >&2; exit 1 ;; esac
done
case $exported in *'"missingRefCount":0'*) ;; *) echo "references lead nowhere" >&2; exit 1 ;; esac

rules=$(curl --silent --fail --max-time 60 "$kibana/api/alerting/rules/_find?search_fields=tags&search=bedside&per_page=100")
wanted=$(find deploy/elastic/rules -name '*.json' | wc -l)
case $rules in *"\"total\":$wanted,"*) echo "$wanted rules" ;; *) echo "not all $wanted rules are there" >&2; exit 1 ;; esac
