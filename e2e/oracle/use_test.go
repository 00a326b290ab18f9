package oracle

import "testing"

func TestUse(t *testing.T) {
	const page = "# HELP go_goroutines x\ngo_goroutines 41\ngo_threads 7\nprocess_open_fds 13\n"
	before, err := ReadUse([]byte(page))
	if want := (Use{Goroutines: 41, Files: 13}); err != nil || before != want {
		t.Fatalf("got %v, %v; want %v", before, err, want)
	}
	if _, err := ReadUse([]byte("go_goroutines 41\n")); err == nil {
		t.Error("without files: got no error, want one")
	}
	tests := []struct {
		name  string
		after Use
		want  bool
	}{
		{"the same", before, true},
		{"a few more", Use{45, 15}, true},
		{"a goroutine each time", Use{46, 13}, false},
		{"a file each time", Use{41, 18}, false},
		{"fewer", Use{30, 9}, true},
	}
	for _, tt := range tests {
		if got := tt.after.Within(before, 5); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestRaces(t *testing.T) {
	r := &Report{}
	Races(r, []byte("all is well\n"))
	if !r.Clean() {
		t.Errorf("without a race: got %s", r)
	}
	Races(r, []byte("==================\nWARNING: DATA RACE\nRead at 0x00c0000b4010 by goroutine 7:\n"))
	if r.Count(Wrong) != 1 {
		t.Errorf("with a race: got %s, want one", r)
	}
}
