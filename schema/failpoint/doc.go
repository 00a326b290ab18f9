// Package failpoint lets tests stop, delay or break the program at named places. Without the build tag
// `failpoints` every call is empty and the compiler removes it.
//
// The environment variable ROWFERRY_FAILPOINTS arms points: "name=action[;name=action]". An action is
// kill (SIGKILL to the own process), error, hang (until the context given ends, or for ever), delay:DURATION or
// panic, optionally with "@N" for "at the N-th time it is reached" (1 when left out),
// as in "apply.before_commit=kill@3". Each armed point acts once.
package failpoint
