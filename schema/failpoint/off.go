//go:build !failpoints

package failpoint

import "context"

// Enabled tells whether the program was built with failpoints.
const Enabled = false

// Hit is the place called name. It returns an error only when armed with one.
func Hit(_ context.Context, _ string) error { return nil }
