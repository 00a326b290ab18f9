// Package wire turns changes into the bytes that files, streams and topics carry.
//
// # The json format
//
// One change is one line, a JSON object with Debezium's field names in this order:
//
//	op       c insert, u update, d delete, r existing row, t truncate, m logical message
//	before   the old row as far as the source sends it: every column, or those of the key; null when it sends none
//	after    the new row; null for a delete and a truncate
//	message  of op m only, in place of before and after: prefix, and content in base64
//	source   connector, schema, table, lsn, txId, ts_ms (of the commit), snapshot ("true" for existing rows, else
//	         "false"), and origin when the change was replicated into the source
//	ts_ms    the same as source.ts_ms
//	unchanged  names of the columns of after that the source did not send because the change left them as they were
//	replaced   names of the columns that hold bytes which are no UTF-8, each such byte replaced by U+FFFD
//
// The last two are left out when they would be empty. A truncate of several tables is a line for each. Changes of
// a table's definition have no line: the rows show them.
//
// Integers, floats, truth values, and JSON objects and arrays are themselves; everything else is the canonical text
// of its kind as a string, NaN and infinite floats too. A JSON document that is no object or array is its text as a
// string ("\"a\"", "null", "1"): otherwise the document null could not be told from SQL's NULL, which is null.
// Digits are never shortened, so a reader that holds numbers as 64-bit floats should parse integers with care.
// Columns the source does not capture are left out.
//
// The same batch always gives the same bytes: there is no clock in them.
package wire
