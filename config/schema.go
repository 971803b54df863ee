package config

import _ "embed"

// Schema is the JSON Schema (draft 2020-12) of a file that owns the gateway, for editors. schema_test.go makes it of the types and
// their comments. It accepts what the loader accepts, as far as a schema can tell: whether a target exists is not its matter.
//
//go:embed schema.json
var Schema []byte
