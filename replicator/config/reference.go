package config

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
)

// Lookup is where references find their values.
type Lookup struct {
	Getenv   func(name string) (string, bool)
	ReadFile func(path string) ([]byte, error)
}

// errUnset is a reference whose value is missing.
var errUnset = errors.New("is not set and has no default")

// maxSecretBytes bounds what a ${file:…} may bring in.
const maxSecretBytes = 1 << 20

var referenceForm = regexp.MustCompile(`\$\{(env|file|credential):[^}]*\}`)

// hasReference tells whether text refers to anything.
func hasReference(text string) bool { return referenceForm.MatchString(text) }

// onlyReferences tells whether text is made of references alone, so that showing it gives nothing away.
func onlyReferences(text string) bool {
	return hasReference(text) && strings.Trim(referenceForm.ReplaceAllString(text, ""), `"' `) == ""
}

// expand replaces ${env:NAME}, ${env:NAME:-default}, ${file:PATH} and ${credential:NAME}; $$ stands for one $.
// In the user part of a URL a value is percent-encoded, so that a password may hold any character.
func (l Lookup) expand(text string) (string, error) {
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] != '$' || i+1 == len(text):
			out.WriteByte(text[i])
		case text[i+1] == '$':
			out.WriteByte('$')
			i++
		case text[i+1] == '{':
			end := strings.IndexByte(text[i:], '}')
			if end < 0 {
				return "", fmt.Errorf("${… has no closing brace; write $$ for a plain dollar sign")
			}
			value, err := l.resolve(text[i+2 : i+end])
			if err != nil {
				return "", err
			}
			if scheme := strings.Index(text, "://"); scheme >= 0 && scheme < i && inUserPart(text[scheme+3:], i-scheme-3) {
				value = strings.ReplaceAll(url.QueryEscape(value), "+", "%20")
			}
			out.WriteString(value)
			i += end
		default:
			out.WriteByte('$')
		}
	}
	return out.String(), nil
}

// inUserPart tells whether offset i of rest, what follows "://", comes before the @ that ends user and password.
func inUserPart(rest string, i int) bool {
	plain := referenceForm.ReplaceAllStringFunc(rest, func(s string) string { return strings.Repeat("x", len(s)) })
	if slash := strings.IndexAny(plain, "/?#"); slash >= 0 {
		plain = plain[:slash]
	}
	return i < strings.LastIndexByte(plain, '@')
}

// resolve gives the value of one reference, without its braces.
func (l Lookup) resolve(reference string) (string, error) {
	kind, rest, _ := strings.Cut(reference, ":")
	switch kind {
	case "env":
		name, fallback, hasFallback := strings.Cut(rest, ":-")
		value, ok := l.Getenv(name)
		if ok && (value != "" || !hasFallback) {
			return value, nil
		}
		if !hasFallback {
			return "", fmt.Errorf("${env:%s} %w", name, errUnset)
		}
		return fallback, nil
	case "file":
		return l.readSecret(reference, rest)
	case "credential":
		dir, ok := l.Getenv("CREDENTIALS_DIRECTORY")
		if !ok {
			return "", fmt.Errorf("${%s} %w: CREDENTIALS_DIRECTORY is not set, is this run by systemd with LoadCredential?",
				reference, errUnset)
		}
		if rest == "" || strings.ContainsAny(rest, "/\\") {
			return "", fmt.Errorf("${%s}: a credential is a plain name", reference)
		}
		return l.readSecret(reference, filepath.Join(dir, rest))
	}
	return "", fmt.Errorf("${%s} is no reference: write ${env:NAME}, ${file:/path} or ${credential:name}, or $$ for a plain dollar sign", reference)
}

// readSecret reads a file and drops the newline that editors put at its end.
func (l Lookup) readSecret(reference, path string) (string, error) {
	text, err := l.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("${%s} %w: %w", reference, errUnset, err)
	}
	if len(text) > maxSecretBytes {
		return "", fmt.Errorf("${%s} holds more than 1 MiB", reference)
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r"), nil
}
