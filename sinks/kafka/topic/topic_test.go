package topic

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"
	"go.uber.org/goleak"

	"github.com/rowferry/rowferry/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPattern(t *testing.T) {
	orders := &schema.Table{Schema: "public", Name: "orders"}
	odd := &schema.Table{Schema: "Odd Schema", Name: "ta/ble é"}
	long := &schema.Table{Schema: strings.Repeat("s", 200), Name: strings.Repeat("t", 200)}
	tests := []struct {
		pattern Pattern
		table   *schema.Table
		want    string
		per     bool
	}{
		{"{pipeline}.{schema}.{table}", orders, "shop.public.orders", true},
		{"{pipeline}.{schema}.{table}", odd, "shop.Odd_Schema.ta_ble__", true},
		{"{schema}.{table}", long, strings.Repeat("s", 200) + "." + strings.Repeat("t", 48), true},
		{"all-{pipeline}", orders, "all-shop", false},
		{"all-{pipeline}", nil, "all-shop", false},
		{"{table}", &schema.Table{Name: ".."}, "__", true},
	}
	for _, tt := range tests {
		if err := tt.pattern.Validate(); err != nil {
			t.Errorf("%s: got %v", tt.pattern, err)
		}
		if got := tt.pattern.Name("shop", tt.table); got != tt.want || tt.pattern.PerTable() != tt.per {
			t.Errorf("%s: got %s, per table %v; want %s, %v", tt.pattern, got, tt.pattern.PerTable(), tt.want, tt.per)
		}
	}
	for _, bad := range []Pattern{"", "{tabel}", "a b", "{schema}.{table", "ü"} {
		if err := bad.Validate(); err == nil {
			t.Errorf("%q: got no error", bad)
		}
	}
}

// TestPartition: keys go where Java's client, and kafka-go's copy of its rule, would send them.
func TestPartition(t *testing.T) {
	// From the Java client's own tests of Utils.murmur2.
	for text, want := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string": -1486304829, "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		if got := int32(hash([]byte(text))); got != want {
			t.Errorf("hash of %q: got %d, want %d", text, got, want)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	balancer := kafka.Murmur2Balancer{}
	for range 2000 {
		key := make([]byte, random.IntN(40))
		for i := range key {
			key[i] = byte(random.Uint32())
		}
		n := 1 + random.IntN(50)
		partitions := make([]int, n)
		for i := range partitions {
			partitions[i] = i
		}
		if got, want := Partition(key, int32(n)), balancer.Balance(kafka.Message{Key: key}, partitions...); int(got) != want && len(key) > 0 {
			t.Fatalf("%x of %d: got %d, want %d", key, n, got, want)
		}
	}
}
