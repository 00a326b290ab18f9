//go:build !bug_file_not_cut

package file

// cutBack is false only in builds that prove the tests see a file that was not cut back.
const cutBack = true
