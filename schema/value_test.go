package schema

import (
	"math"
	"strconv"
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

func TestValueForms(t *testing.T) {
	arena := []byte("xxhello")
	tests := []struct {
		name   string
		v      Value
		form   Form
		text   string
		null   bool
		absent bool
	}{
		{"zero", Value{}, NotCaptured, "", false, true},
		{"unchanged", UnchangedValue, Unchanged, "", false, true},
		{"null", NullValue, Null, "", true, false},
		{"text", TextAt(2, 5), Text, "hello", false, false},
		{"empty text", TextAt(7, 0), Text, "", false, false},
		{"int", IntValue(math.MinInt64), Int, "-9223372036854775808", false, false},
		{"uint", UintValue(math.MaxUint64), Uint, "18446744073709551615", false, false},
		{"float", FloatValue(0.1), Float, "0.1", false, false},
		{"NaN", FloatValue(math.NaN()), Float, "NaN", false, false},
		{"infinite", FloatValue(math.Inf(1)), Float, "Infinity", false, false},
		{"negative infinite", FloatValue(math.Inf(-1)), Float, "-Infinity", false, false},
		{"true", BoolValue(true), Bool, "t", false, false},
		{"false", BoolValue(false), Bool, "f", false, false},
	}
	for _, tt := range tests {
		if got := tt.v.Form(); got != tt.form {
			t.Errorf("%s: got form %d, want %d", tt.name, got, tt.form)
		}
		if got := string(tt.v.AppendText([]byte("> "), arena)); got != "> "+tt.text {
			t.Errorf("%s: got %q, want %q", tt.name, got, "> "+tt.text)
		}
		if got := string(tt.v.Bytes(arena)); tt.form == Text && got != tt.text || tt.form != Text && tt.v.Bytes(arena) != nil {
			t.Errorf("%s: got bytes %q", tt.name, got)
		}
		if tt.v.IsNull() != tt.null || tt.v.Absent() != tt.absent {
			t.Errorf("%s: got null %v, absent %v; want %v, %v", tt.name, tt.v.IsNull(), tt.v.Absent(), tt.null, tt.absent)
		}
	}
}

// TestValueIsSmall: a row of a hundred columns is 1600 bytes, without a pointer the collector has to follow.
func TestValueIsSmall(t *testing.T) {
	if got := unsafe.Sizeof(Value{}); got != 16 {
		t.Errorf("got %d bytes, want 16", got)
	}
}

// TestBytesCannotGrowIntoTheNext: appending to one value's bytes never writes over its neighbour's.
func TestBytesCannotGrowIntoTheNext(t *testing.T) {
	arena := []byte("ab")
	_ = append(TextAt(0, 1).Bytes(arena), 'X')
	if string(arena) != "ab" {
		t.Errorf("got %q, want ab", arena)
	}
}

func TestFloatTextReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := math.Float64frombits(rapid.Uint64().Draw(t, "bits"))
		got, err := strconv.ParseFloat(string(AppendFloat(nil, f)), 64)
		if err != nil || math.Float64bits(got) != math.Float64bits(f) && !(math.IsNaN(f) && math.IsNaN(got)) {
			t.Fatalf("%v: got %v, %v back", f, got, err)
		}
	})
}

func TestKindNames(t *testing.T) {
	seen := map[string]bool{}
	for k := range kindEnd {
		if name := k.String(); name == "" || seen[name] {
			t.Errorf("kind %d: got name %q, want one of its own", uint8(k), name)
		} else {
			seen[name] = true
		}
	}
	if got := Kind(200).String(); got != "kind(200)" {
		t.Errorf("got %q, want kind(200)", got)
	}
	for _, tt := range []struct {
		kind           Kind
		integer, float bool
	}{{KindBool, false, false}, {KindInt8, true, false}, {KindUint64, true, false}, {KindFloat32, false, true}, {KindDecimal, false, false}} {
		if tt.kind.Integer() != tt.integer || tt.kind.Float() != tt.float {
			t.Errorf("%v: got integer %v, float %v", tt.kind, tt.kind.Integer(), tt.kind.Float())
		}
	}
}

func TestPosition(t *testing.T) {
	if p := (Position{}); !p.IsZero() || p.String() != "none" {
		t.Errorf("got %q, zero %v; want none, true", p, p.IsZero())
	}
	if p := (Position{"postgres/1", "7/1/0/1/stream"}); p.IsZero() || p.String() != "postgres/1:7/1/0/1/stream" {
		t.Errorf("got %q, zero %v", p, p.IsZero())
	}
}
