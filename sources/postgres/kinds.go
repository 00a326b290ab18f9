package postgres

import (
	"slices"

	"github.com/rowferry/rowferry/schema"
)

// builtinKinds are the kinds of the types that every server has, by oid. A built-in type that is not listed is
// opaque: regproc, tsvector, pg_lsn, money (whose text depends on the server's locale) and the like.
var builtinKinds = map[uint32]schema.Kind{
	16:   schema.KindBool,
	17:   schema.KindBytes,
	18:   schema.KindText, // "char"
	19:   schema.KindText, // name
	20:   schema.KindInt64,
	21:   schema.KindInt16,
	23:   schema.KindInt32,
	25:   schema.KindText,
	26:   schema.KindUint32, // oid
	28:   schema.KindUint32, // xid
	29:   schema.KindUint32, // cid
	114:  schema.KindJSON,
	142:  schema.KindXML,
	600:  schema.KindGeometry, // point
	601:  schema.KindGeometry, // lseg
	602:  schema.KindGeometry, // path
	603:  schema.KindGeometry, // box
	604:  schema.KindGeometry, // polygon
	628:  schema.KindGeometry, // line
	650:  schema.KindNetwork,  // cidr
	700:  schema.KindFloat32,
	701:  schema.KindFloat64,
	718:  schema.KindGeometry, // circle
	774:  schema.KindNetwork,  // macaddr8
	829:  schema.KindNetwork,  // macaddr
	869:  schema.KindNetwork,  // inet
	1042: schema.KindText,     // character(n)
	1043: schema.KindText,     // character varying
	1082: schema.KindDate,
	1083: schema.KindTime,
	1114: schema.KindTimestamp,
	1184: schema.KindTimestampTZ,
	1186: schema.KindInterval,
	1266: schema.KindTimeTZ,
	1560: schema.KindBits,
	1562: schema.KindBits, // bit varying
	1700: schema.KindDecimal,
	2950: schema.KindUUID,
	3802: schema.KindJSON,   // jsonb
	5069: schema.KindUint64, // xid8
}

// extensionKinds are base types that extensions bring, by name: their oids differ between databases, and their
// schema is whatever CREATE EXTENSION was told.
var extensionKinds = map[string]schema.Kind{
	"citext":    schema.KindText,
	"geometry":  schema.KindGeometry,
	"geography": schema.KindGeometry,
	"box2d":     schema.KindGeometry,
	"box3d":     schema.KindGeometry,
	"vector":    schema.KindVector,
	"halfvec":   schema.KindVector,
}

// firstUserOID is the first oid that a server gives to objects it did not begin with.
const firstUserOID = 16384

// nativeType is what the catalog says of a type. A domain is described by the type it rests on.
type nativeType struct {
	base     uint32 // the type itself, or what a domain rests on
	typmod   int32  // what a domain fixes, -1 for nothing
	baseName string // base with that typmod, as the server spells it
	name     string // of base, without its schema
	class    byte   // pg_type.typtype of base: b, c, e, r, m, p
	element  uint32 // of an array or a range, 0 otherwise
	array    bool
	labels   []string
}

// kind is the kind of the type, but for what an array or a range holds.
func (n *nativeType) kind() schema.Kind {
	switch {
	case n.array:
		return schema.KindArray
	case n.class == 'e':
		return schema.KindEnum
	case n.class == 'r' || n.class == 'm':
		return schema.KindRange
	case n.class == 'c':
		return schema.KindComposite
	}
	if k, ok := builtinKinds[n.base]; ok {
		return k
	}
	if k, ok := extensionKinds[n.name]; ok && n.base >= firstUserOID && n.class == 'b' {
		return k
	}
	return schema.KindOpaque
}

// typeSet is the types that some columns need, by oid.
type typeSet map[uint32]*nativeType

// fill sets what the type decides of a column. native is the column's type as the server spells it, typmod the
// column's own.
func (ts typeSet) fill(c *schema.Column, oid uint32, typmod int32, native string) {
	c.Native, c.Base, c.Precision = native, native, -1
	n := ts[oid]
	if n == nil { // dropped since the log was written
		c.Kind = schema.KindOpaque
		return
	}
	if n.base != oid {
		c.Base = n.baseName
		typmod = n.typmod
	}
	c.Kind = n.kind()
	c.Labels = slices.Clone(n.labels)
	if c.Kind == schema.KindArray || c.Kind == schema.KindRange {
		c.Elem = schema.KindOpaque
		if e := ts[n.element]; e != nil {
			c.Elem = e.kind()
			c.Labels = slices.Clone(e.labels)
		}
	}
	c.Precision, c.Scale = digits(c.Kind, typmod)
}

// digits reads precision and scale out of a type modifier.
func digits(kind schema.Kind, typmod int32) (precision, scale int32) {
	switch kind {
	case schema.KindDecimal:
		if typmod < 4 {
			return -1, 0
		}
		packed := typmod - 4
		// The scale is an eleven-bit number with a sign since Postgres 15.
		return packed >> 16 & 0xffff, (packed&0x7ff ^ 0x400) - 0x400
	case schema.KindTime, schema.KindTimeTZ, schema.KindTimestamp, schema.KindTimestampTZ:
		if typmod < 0 {
			return 6, 0
		}
		return typmod, 0
	case schema.KindInterval:
		if typmod < 0 || typmod&0xffff == 0xffff {
			return 6, 0
		}
		return typmod & 0xffff, 0
	}
	return -1, 0
}
