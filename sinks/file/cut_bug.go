//go:build bug_file_not_cut

package file

// cutBack: this build has a bug planted on purpose. Bytes of no commit stay in the file.
const cutBack = false
