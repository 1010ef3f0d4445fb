#!/bin/bash
# Throughput against the machine's ceiling for sampling, scoring, ghost norms and sketches; one JSON file.
#   benchmarks/accelerator/run.sh OUT.json          on an accelerator: 10, 100 and 500 M parameters, 8 minutes at most
#   benchmarks/accelerator/run.sh OUT.json small    on a CPU: 0.1 M parameters, to see that it works
set -euo pipefail
cd "$(dirname "$0")/../.."
exec timeout 480 python -m benchmarks.accelerator.measure --out "$1" ${2:+--small}
