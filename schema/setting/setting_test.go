package setting

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestPattern(t *testing.T) {
	tests := []struct {
		pattern, schema, name string
		want                  bool
	}{
		{"public.*", "public", "orders", true},
		{"public.*", "public2", "orders", false},
		{"public.o?ders", "public", "orders", true},
		{`public."Odd.Name"`, "public", "Odd.Name", true},
		{`public."a*"`, "public", "ab", false},
		{`public."a*"`, "public", "a*", true},
		{`"Quoted_"" . Schema".*`, `Quoted_" . Schema`, "x", true},
		{`re:public\.order_\d+`, "public", "order_12", true},
		{`re:public\.order_\d+`, "public", "order_12x", false},
		{"público.*", "público", "ñ", true},
		{"p.x\ny", "p", "x\ny", true},
	}
	for _, tt := range tests {
		p, err := ParsePattern(tt.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Match(tt.schema, tt.name); got != tt.want {
			t.Errorf("%s matches %s.%s: got %v, want %v", tt.pattern, tt.schema, tt.name, got, tt.want)
		}
	}
	for _, bad := range []string{"orders", "a.b.c", `public."x`, "re:("} {
		if _, err := ParsePattern(bad); err == nil {
			t.Errorf("%s: got no error", bad)
		}
	}
}

func TestDurationAndSize(t *testing.T) {
	var d Duration
	if err := d.UnmarshalText([]byte("7d")); err != nil || time.Duration(d) != 7*24*time.Hour {
		t.Errorf("7d: got %v, %v", d, err)
	}
	if err := d.UnmarshalText([]byte("10")); err == nil {
		t.Error("10 without a unit: got no error")
	}
	var z Size
	if err := z.UnmarshalText([]byte("64MiB")); err != nil || z != 64<<20 || z.String() != "64MiB" {
		t.Errorf("64MiB: got %v, %v", z, err)
	}
	if err := z.UnmarshalText([]byte("64")); err == nil {
		t.Error("64 without a unit: got no error")
	}
}

func TestSecretNeverPrints(t *testing.T) {
	s := Secret("hunter2")
	for _, format := range []string{"%v", "%s", "%#v", "%q", "%+v"} {
		if got := fmt.Sprintf(format, struct{ S Secret }{s}); strings.Contains(got, "hunter2") {
			t.Errorf("%s prints the secret", format)
		}
	}
}
