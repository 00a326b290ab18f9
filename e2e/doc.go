// Package e2e tests the whole: the real binary against real servers. Its folders hold what that takes:
// servers to talk to, load to put on them, oracles that judge what arrived, a proxy that breaks connections,
// and the programs behind make conformance, demo, torture and bench.
package e2e
