package postgres

import (
	"errors"
	"strings"
	"testing"

	"github.com/rowferry/rowferry/schema/setting"
)

func TestConfigTLS(t *testing.T) {
	tests := []struct{ url, mode, want, refused string }{
		{url: "postgres://u@localhost/d", want: "sslmode=disable"},
		{url: "postgres://u@127.0.0.1:5/d", want: "sslmode=disable"},
		{url: "postgres://u@db1/d", want: "sslmode=verify-full"},
		{url: "postgres://u@db1,db2/d", want: "target_session_attrs=read-write"},
		{url: "postgres://u@db1:1,db1:2/d", want: "target_session_attrs=read-write"},
		{url: "postgres://u@localhost,db2/d", want: "sslmode=verify-full"},
		{url: "postgres://u@localhost/d?host=db1", want: "sslmode=verify-full"},
		{url: "postgres://u@db1/d?sslmode=require", want: "sslmode=require"},
		{url: "postgres://u@db1/d", mode: "disable", want: "sslmode=disable"},
		{url: "postgres://u@db1/d?sslmode=prefer", refused: "prefer falls back to plain text"},
		{url: "postgres://u@db1/d", mode: "allow", refused: "allow falls back to plain text"},
		{url: "postgres://u@db1/d?sslmode=disable", mode: "verify-full", refused: "but the url says sslmode=disable"},
		{url: "mysql://db1/d", refused: "write postgres://"},
		{url: "postgres://u:secret%zz@db1/d", refused: "cannot be read"},
	}
	for _, tt := range tests {
		c := Config{URL: tt.url, TLS: TLS{Mode: tt.mode}}
		got, err := c.connString()
		switch {
		case tt.refused == "" && (err != nil || !strings.Contains(got, tt.want)):
			t.Errorf("%s: got %s, %v; want %s", tt.url, got, err, tt.want)
		case tt.refused != "" && (err == nil || !strings.Contains(err.Error(), tt.refused)):
			t.Errorf("%s: got %v, want it refused: %s", tt.url, err, tt.refused)
		case err != nil && strings.Contains(err.Error(), "secret"):
			t.Errorf("%s: got %v, which shows the password", tt.url, err)
		}
	}
}

func TestConfigValidate(t *testing.T) {
	good := Config{URL: "postgres://u@localhost/d"}.withDefaults("p")
	if errs := good.Validate(); len(errs) > 0 {
		t.Errorf("got %v, want the defaults to be valid", errors.Join(errs...))
	}
	bad := good
	bad.Tables.Existing, bad.SchemaChanges, bad.CopyWorkers, bad.Batch.MaxRows = "drop", "apply", 65, -1
	bad.LockTimeout, bad.ReplyTimeout, bad.TLS.CertFile = 0, 0, "x"
	text := errors.Join(bad.Validate()...).Error()
	for _, path := range []string{"tables.existing", "schema_changes", "copy_workers", "batch.max_rows", "lock_timeout", "reply_timeout", "tls:"} {
		if !strings.Contains(text, path) {
			t.Errorf("got %q, want %s in it", text, path)
		}
	}
}

func TestPasswordNeverShows(t *testing.T) {
	c := Config{URL: "postgres://u@localhost:1/d", Password: setting.Secret(canary)}.withDefaults("p")
	_, err := c.connect(testContext(t))
	if err == nil || strings.Contains(err.Error(), canary) {
		t.Errorf("got %v, want an error without the password", err)
	}
	c.URL = "postgres://u:" + canary + "@localhost:1/d"
	if _, err = c.connect(testContext(t)); err == nil || strings.Contains(err.Error(), canary) {
		t.Errorf("got %v, want an error without the password", err)
	}
}
