package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"

	"github.com/rowferry/rowferry/schema/setting"
)

// Fingerprint is a hash of what decides which rows go where: tables selected and names changed. The target's
// ledger keeps it, so that a change of scope beside an existing position is noticed.
func (p *Pipeline) Fingerprint() string {
	type rename struct{ Schema, Table, To string }
	scope := struct {
		Include, Exclude []string
		Renames          []rename
	}{Include: patternTexts(p.Source.Tables.Include), Exclude: patternTexts(p.Source.Tables.Exclude)}
	for _, r := range p.Renames() {
		scope.Renames = append(scope.Renames, rename{r.Schema, r.Table, r.To})
	}
	text, err := json.Marshal(scope)
	if err != nil {
		panic(err) // texts alone always encode
	}
	sum := sha256.Sum256(text)
	return "1:" + hex.EncodeToString(sum[:8])
}

// patternTexts lists patterns in an order that does not depend on the file's: it has no meaning.
func patternTexts(patterns []setting.Pattern) []string {
	out := []string{}
	for _, p := range patterns {
		out = append(out, p.String())
	}
	slices.Sort(out)
	return slices.Compact(out)
}
