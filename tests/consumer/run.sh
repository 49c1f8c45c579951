#!/usr/bin/env bash
# Packs the libraries, installs them into a project that knows nothing of this repository, and trains with it.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for project in Graph CustomOps Trainer; do
  dotnet pack "$root/src/$project" -v quiet -nologo -o "$work/feed" "$@"
done
for package in "$work"/feed/*.nupkg; do
  unzip -l "$package" | grep README.md >/dev/null || { echo "$package has no README." >&2; exit 1; }
done
cp "$root"/tests/consumer/* "$work"
cd "$work"
# The packages come from the feed made here, everything else from the machine's own sources; a cache of its own keeps
# an earlier pack of the same version out.
NUGET_PACKAGES=$work/packages dotnet build consumer.csproj -v quiet -nologo -p:RestoreAdditionalProjectSources="$work/feed"
dotnet "$work/bin/Debug/net10.0/consumer.dll" "$root/demo" "$work/run"
