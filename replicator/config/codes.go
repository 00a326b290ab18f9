package config

import "github.com/rowferry/rowferry/schema/fault"

// nothingRan is the answer to "is data lost?" for everything this package finds.
const nothingRan = "No. The file is read before anything is connected or changed; a daemon that runs goes on with what it has."

// Codes documents what can be wrong with a configuration file.
var Codes = []fault.Code{
	{
		Name: "config.unreadable", Title: "the configuration file cannot be read",
		Meaning:  "There is no file of that name, or this user may not read it. The name comes from --config, else ROWFERRY_CONFIG, else rowferry.yaml in the working folder, else /etc/rowferry/rowferry.yaml.",
		DataLost: nothingRan, Remedy: "Name the file: rowferry --config FILE …\nWrite one to begin with: rowferry config init > rowferry.yaml",
	},
	{
		Name: "config.syntax", Title: "the configuration file is no YAML",
		Meaning:  "The text breaks YAML's own rules, so nothing of it can be understood. The place named is where the reader noticed, which may be a line after the cause.",
		DataLost: nothingRan, Remedy: "Look at the line and the one before it: indentation by blanks (never tabs), closed quotes, a blank after every colon.\nQuote values that hold \": \", \" #\", or begin with one of @ ` * & ! % [ {.",
	},
	{
		Name: "config.unknown_key", Title: "a key that means nothing here",
		Meaning:  "Keys that are not known are errors, because a setting with a slip in its name would otherwise be ignored in silence. Names of other replication tools are recognised and answered with ours.",
		DataLost: nothingRan, Remedy: "Write the key as the message proposes.\nSee what a section may hold: rowferry config schema SECTION",
	},
	{
		Name: "config.duplicate_key", Title: "a key given twice",
		Meaning:  "YAML forbids a key twice in one mapping, and readers differ in which one counts.",
		DataLost: nothingRan, Remedy: "Take one of the two lines out.",
	},
	{
		Name: "config.wrong_type", Title: "a value that is not of the setting's type",
		Meaning:  "Durations and sizes need their unit (10s, 64MiB), switches are true or false, lists are written [a, b].",
		DataLost: nothingRan, Remedy: "Write the value as the message says.\nSee what the setting takes: rowferry config schema KEY",
	},
	{
		Name: "config.invalid_value", Title: "a value that makes no sense there",
		Meaning:  "The value could be read, but the setting does not take it, or it contradicts another one.",
		DataLost: nothingRan, Remedy: "Change the value as the message says.\nSee what the setting takes: rowferry config schema KEY",
	},
	{
		Name: "config.missing", Title: "a setting without which nothing can begin",
		Meaning:  "Every file needs version: 1 and at least one pipeline with a source, its tables, and a target.",
		DataLost: nothingRan, Remedy: "Add the setting.\nSee an example: rowferry config init",
	},
	{
		Name: "config.unknown_connector", Title: "a source or target of a kind that is not built in",
		Meaning:  "The scheme of the url, or type, says which connector speaks to the other side. This build has none of that name.",
		DataLost: nothingRan, Remedy: "Write one of the kinds the message lists.",
	},
	{
		Name: "config.secret_unset", Title: "a reference whose value is missing",
		Meaning:  "${env:NAME}, ${file:/path} and ${credential:name} stand for values kept elsewhere. The variable is not set, or the file cannot be read, and no default is given.",
		DataLost: nothingRan, Remedy: "Set the variable for the user that runs rowferry, or make the file readable to it.\nGive a default where an empty value makes sense: ${env:NAME:-default}\nWrite $$ for a plain dollar sign.",
	},
	{
		Name: "config.inline_secret", Title: "a password in plain text (a warning)",
		Meaning:  "A password in the file is read by everybody who may read the file, its backups and its history.",
		DataLost: nothingRan, Remedy: "Refer to it: password: \"${env:NAME}\", \"${file:/run/secrets/name}\" or, under systemd, \"${credential:name}\".",
	},
}
