package debezium

import (
	"regexp"
	"strings"
)

// security writes how connections to the brokers are protected, and how to log in.
func (im *importer) security(t tree) {
	protocol, ok := im.take("producer.security.protocol")
	protocol = strings.ToUpper(protocol)
	switch protocol {
	case "", "PLAINTEXT", "SASL_PLAINTEXT", "SSL", "SASL_SSL":
	default:
		im.note("producer.security.protocol", "%s is not known: say under target.tls and target.sasl how to connect", shown(protocol))
		return
	}
	tls := newTree()
	switch {
	case strings.HasSuffix(protocol, "SSL"):
		tls.set("mode", "verify-full")
		im.stores(tls)
	case ok:
		tls.set("mode", "disable")
	}
	t.set("tls", tls)
	if strings.HasPrefix(protocol, "SASL_") {
		t.set("sasl", im.login())
	}
}

// stores writes which certificates are trusted, and which one is ours. Java's own formats cannot be read.
func (im *importer) stores(tls tree) {
	if file, ok := im.value("producer.ssl.truststore.location"); ok {
		if im.pem("truststore") {
			file, _ = im.text("producer.ssl.truststore.location", "KAFKA_CA_FILE")
			tls.set("ca_file", file)
		} else {
			im.note("producer.ssl.truststore.location", "a truststore of Java's is not read: keytool -exportcert -rfc -keystore %s -alias ALIAS > ca.pem, "+
				"for each of its certificates, and set target.tls.ca_file: ca.pem", shellWord(file))
		}
	}
	if _, ok := im.value("producer.ssl.keystore.location"); ok {
		if im.pem("keystore") {
			file, _ := im.text("producer.ssl.keystore.location", "KAFKA_KEY_FILE")
			tls.set("cert_file", file)
			tls.set("key_file", file)
		} else {
			im.note("producer.ssl.keystore.location", "a keystore of Java's is not read: make it PKCS12 with keytool -importkeystore, then PEM with openssl pkcs12 -nodes, "+
				"and set target.tls.cert_file and key_file")
		}
	}
	for _, store := range []string{"truststore", "keystore"} {
		im.taken["producer.ssl."+store+".location"] = true
		if _, ok := im.take("producer.ssl." + store + ".password"); ok {
			im.unneeded("producer.ssl."+store+".password", "files are PEM, without a password")
		}
	}
	if _, ok := im.take("producer.ssl.key.password"); ok {
		im.note("producer.ssl.key.password", "a key with a password is not read: write it without one, for the daemon's user alone")
	}
	const names = "producer.ssl.endpoint.identification.algorithm"
	if e, has := im.known[names]; has && !strings.EqualFold(strings.TrimSpace(e.value), "https") {
		im.note(names, "the names in the brokers' certificates are always compared: set target.tls.server_name where they are others")
	}
	im.taken[names] = true
}

// pem tells whether a store is PEM.
func (im *importer) pem(store string) bool {
	kind, _ := im.take("producer.ssl." + store + ".type")
	return strings.EqualFold(kind, "PEM")
}

var jaas = regexp.MustCompile(`(?s)^\s*[\w.]+\s+required\s+(.*);\s*$`)

// jaasOption finds the options of a login module: name="value", with backslashes before quotes.
var jaasOption = regexp.MustCompile(`([\w.]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([^\s;]+))`)

// login writes how to log in.
func (im *importer) login() tree {
	const mechanism, config = "producer.sasl.mechanism", "producer.sasl.jaas.config"
	t := newTree()
	value, ok := im.take(mechanism)
	if !ok {
		value = "GSSAPI"
	}
	switch value = strings.ToUpper(value); value {
	case "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512":
	case "OAUTHBEARER":
		im.note(mechanism, "a token is read from a file here, anew for each login: target.sasl: { mechanism: OAUTHBEARER, token_file: … }")
		return t
	default:
		im.note(mechanism, "%s is not known here: log in with SCRAM-SHA-512, or with a client certificate, under target", value)
		return t
	}
	text, _ := im.take(config)
	user, password := "", ""
	if m := jaas.FindStringSubmatch(text); m != nil {
		for _, option := range jaasOption.FindAllStringSubmatch(m[1], -1) {
			value := strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(option[2]) + option[3] + option[4]
			switch option[1] {
			case "username":
				user = im.translated(config, value, "KAFKA_USER")
			case "password":
				password = im.secret(config, value, "KAFKA_PASSWORD")
			}
		}
	}
	if user == "" || password == "" { // kept elsewhere, or in another form
		user, password = "${env:"+im.variable("KAFKA_USER")+"}", "${env:"+im.variable("KAFKA_PASSWORD")+"}"
		im.note(config, "user and password are not told apart in it: set the environment variables %s and %s", im.variable("KAFKA_USER"), im.variable("KAFKA_PASSWORD"))
	}
	t.set("mechanism", value)
	t.set("username", user)
	t.set("password", password)
	return t
}

// shellWord quotes a text for a shell.
func shellWord(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
