#!/bin/sh
# Runs every fuzz target of the module for FUZZTIME each (a duration, or a
# count such as 10000x), then the random oracle with ORACLE_CASES cases (0
# leaves it out). `go test` fuzzes one target at a time, hence the loop.
set -eu

GO=${GO:-go}
FUZZTIME=${FUZZTIME:-30s}
ORACLE_CASES=${ORACLE_CASES:-2000}
oracle=./internal/daemon

cd "$(dirname "$0")/.."

found=0
packages=$("$GO" list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.Dir}}{{end}}' ./...)
for dir in $packages; do
	# Listing runs TestMain, which may start servers: ask only where it pays.
	grep -q '^func Fuzz' "$dir"/*_test.go || continue
	pkg=.${dir#"$(pwd)"}
	listed=$("$GO" test -list '^Fuzz' "$pkg") || {
		echo "$listed" >&2
		exit 1
	}
	for target in $(echo "$listed" | grep '^Fuzz'); do
		echo "fuzz: $pkg $target for $FUZZTIME"
		"$GO" test -run '^$' -fuzz "^$target\$" -fuzztime "$FUZZTIME" "$pkg"
		found=$((found + 1))
	done
done
# A loop over nothing would pass for ever.
if [ "$found" -eq 0 ]; then
	echo "fuzz: no fuzz target found" >&2
	exit 1
fi
echo "fuzz: $found targets held"

[ "$ORACLE_CASES" = 0 ] && exit 0
listed=$("$GO" test -list '^TestOracle' "$oracle") || {
	echo "$listed" >&2
	exit 1
}
if ! echo "$listed" | grep -q '^TestOracle'; then
	echo "fuzz: $oracle has no TestOracle" >&2
	exit 1
fi
echo "fuzz: oracle, $ORACLE_CASES cases"
VERIFIERD_ORACLE_CASES=$ORACLE_CASES "$GO" test -count=1 -timeout 0 -run '^TestOracle' "$oracle"
