//go:build !failpoints

package failpoint

import "testing"

func TestOff(t *testing.T) {
	t.Setenv("ROWFERRY_FAILPOINTS", "a.b=error")
	if err := Hit(t.Context(), "a.b"); err != nil || Enabled {
		t.Errorf("got %v, enabled %v; want nothing", err, Enabled)
	}
}
