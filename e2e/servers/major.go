package servers

import (
	"os"
	"strconv"
	"testing"
)

// MajorVariable names the environment variable that says which major version of Postgres the end-to-end tests run on.
const MajorVariable = "ROWFERRY_TEST_MAJOR"

// Major is the major version for a test that is about no particular one: 15, or what the environment says.
func Major(tb testing.TB) int {
	tb.Helper()
	text := os.Getenv(MajorVariable)
	if text == "" {
		return 15
	}
	major, err := strconv.Atoi(text)
	if err != nil || major < 14 || major > 18 {
		tb.Fatalf("%s is %q, want a version from 14 to 18", MajorVariable, text)
	}
	return major
}
