package config

import (
	"fmt"
	"maps"
	"slices"
)

// checkClaims refuses pipelines that would take something from each other, as two that read one slot or write one
// file. A daemon notices that too, but only once one of them is halted.
func (d *decoder) checkClaims(f *File) {
	owners := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(f.Pipelines)) {
		p := f.Pipelines[name]
		path := join("pipelines", quoteKey(name))
		d.claim(owners, join(path, "source"), claimsOf(d.kinds.Sources, p.Source.Kind, p.Source.Config, name))
		d.claim(owners, join(path, "target"), claimsOf(d.kinds.Targets, p.Target.Kind, p.Target.Config, name))
	}
}

// claimsOf lists what one end of a pipeline needs for itself.
func claimsOf(kinds []Kind, kind string, cfg any, pipeline string) []string {
	for _, k := range kinds {
		if k.Name == kind && k.Claims != nil && cfg != nil {
			return k.Claims(cfg, pipeline)
		}
	}
	return nil
}

// claim notes what an end needs, and reports what another has already.
func (d *decoder) claim(owners map[string]string, path string, claims []string) {
	for _, c := range claims {
		if other, taken := owners[c]; taken {
			d.report(d.nodeOf(path), Problem{
				Code: "config.invalid_value", Path: path, Text: fmt.Sprintf("%s: %s belongs to %s already", path, c, other),
				Hint: "one pipeline has one source, one target and one slot: give each its own",
			})
			continue
		}
		owners[c] = path
	}
}
