package injector

import (
	"bytes"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Most of a pod's variables, annotations and labels are not ours. The types
// here leave them out while decoding, which halves the cost of a decision; a
// list or map that is there, but has nothing of ours, is empty and not nil.

// ownEnv are the environment variables whose names may be ours.
type ownEnv []envView

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (e *ownEnv) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	*e = nil
	if dec.PeekKind() != '[' {
		return json.UnmarshalDecode(dec, (*[]envView)(e)) // null, or an error
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	*e = ownEnv{}
	for dec.PeekKind() != ']' {
		raw, err := dec.ReadValue()
		if err != nil {
			return err
		}
		if !mayHold(raw, "GATEPASS_") {
			continue
		}
		var v envView
		if err := json.Unmarshal(raw, &v); err != nil {
			return err
		}
		*e = append(*e, v)
	}
	_, err := dec.ReadToken()
	return err
}

// ownKeys are the annotations or labels with keys under our prefix, and the
// mark of a static pod.
type ownKeys map[string]string

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (m *ownKeys) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	*m = nil
	if dec.PeekKind() != '{' {
		return json.UnmarshalDecode(dec, (*map[string]string)(m)) // null, or an error
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	*m = ownKeys{}
	for dec.PeekKind() != '}' {
		raw, err := dec.ReadValue()
		if err != nil {
			return err
		}
		if !mayHold(raw, Prefix) && !mayHold(raw, mirrorAnnotation) {
			if err := dec.SkipValue(); err != nil {
				return err
			}
			continue
		}
		// A decoder for each of very many keys would take more than the keys do.
		key, err := jsontext.AppendUnquote(nil, raw)
		if err != nil {
			return err
		}
		var value string
		if err := json.UnmarshalDecode(dec, &value); err != nil {
			return err
		}
		(*m)[string(key)] = value
	}
	_, err := dec.ReadToken()
	return err
}

// mayHold reports whether JSON may contain the ASCII text: a backslash may
// hide any letter.
func mayHold(raw jsontext.Value, text string) bool {
	return bytes.Contains(raw, []byte(text)) || bytes.IndexByte(raw, '\\') >= 0
}
