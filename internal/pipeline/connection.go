package pipeline

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"contenttrust/internal/secret"
)

// Connection is a service connection as the agent hands it over, for an input of
// type connectedService. Its secrets stay in secret.Value.
type Connection struct {
	ID  string
	URL string
	// Scheme is how it authenticates: UsernamePassword, ServicePrincipal,
	// ManagedServiceIdentity, WorkloadIdentityFederation, …
	Scheme string
	// RegistryType is ACR, DockerHub or Others for a connection of the type
	// dockerregistry, else "".
	RegistryType string

	parameters map[string]secret.Value // of the JSON, by upper-case name
	env        Environment
	key        string // the spelling of the ID in the environment
}

// ConnectionErrorKind tells what is wrong with a connection.
type ConnectionErrorKind string

// The kinds of ConnectionError.
const (
	// ConnectionNotNamed: the input is empty.
	ConnectionNotNamed ConnectionErrorKind = "not named"
	// ConnectionAbsent: the agent has handed over nothing under this ID.
	ConnectionAbsent ConnectionErrorKind = "absent"
	// ConnectionMalformed: the agent's JSON cannot be read.
	ConnectionMalformed ConnectionErrorKind = "malformed"
	// ConnectionIncomplete: Parameter is missing.
	ConnectionIncomplete ConnectionErrorKind = "incomplete"
	// ConnectionSchemeNotYet: Scheme is one this program does not speak yet.
	ConnectionSchemeNotYet ConnectionErrorKind = "scheme not yet supported"
	// ConnectionRegistryInvalid: Registry is no host of a registry.
	ConnectionRegistryInvalid ConnectionErrorKind = "registry address invalid"
	// ConnectionRegistryNotAzure: Registry is not in one of Azure's registry
	// domains, though the connection says that it is an Azure registry.
	ConnectionRegistryNotAzure ConnectionErrorKind = "not an azure registry"
)

// ConnectionError is a connection that cannot be used.
type ConnectionError struct {
	ID        string
	Kind      ConnectionErrorKind
	Scheme    string // where the kind is about it
	Parameter string // where the kind is about it
	Registry  string // where the kind is about it
}

func (e *ConnectionError) Error() string {
	text := fmt.Sprintf("service connection %q: %s", e.ID, e.Kind)
	if about := cmp.Or(e.Scheme, e.Parameter, e.Registry); about != "" {
		text += fmt.Sprintf(" (%s)", about)
	}
	return text
}

// ReadConnection reads the connection of this ID, which is the value of the
// input: a GUID in any case. Its only error is *[ConnectionError], of the kinds
// not named, absent and malformed.
func ReadConnection(env Environment, id string) (Connection, error) {
	id = strings.TrimSpace(id)
	if id == "" {
		return Connection{}, &ConnectionError{Kind: ConnectionNotNamed}
	}
	for _, key := range spellings(id) {
		auth, hasAuth := env.Lookup("ENDPOINT_AUTH_" + key)
		scheme, hasScheme := env.Lookup("ENDPOINT_AUTH_SCHEME_" + key)
		address, hasURL := env.Lookup("ENDPOINT_URL_" + key)
		if !hasAuth && !hasScheme && !hasURL {
			continue
		}
		c := Connection{ID: id, URL: address, env: env, key: key, parameters: make(map[string]secret.Value)}
		jsonScheme, err := c.readAuth(auth)
		if err != nil {
			return Connection{}, err
		}
		c.Scheme = cmp.Or(scheme, jsonScheme, c.Parameter("scheme").Reveal())
		c.RegistryType = c.Data("registrytype")
		return c, nil
	}
	return Connection{}, &ConnectionError{ID: id, Kind: ConnectionAbsent}
}

// spellings gives the ways the agent may write an ID: it keeps what the server
// sends, which is lower case for GUIDs and upper case for SYSTEMVSSCONNECTION.
func spellings(id string) []string {
	return []string{id, strings.ToLower(id), strings.ToUpper(id)}
}

// readAuth reads ENDPOINT_AUTH_<id>. No part of it goes into an error.
func (c Connection) readAuth(text string) (scheme string, err error) {
	if text == "" {
		return "", nil
	}
	var auth struct {
		Scheme     string         `json:"scheme"`
		Parameters map[string]any `json:"parameters"`
	}
	if json.Unmarshal([]byte(text), &auth) != nil {
		return "", &ConnectionError{ID: c.ID, Kind: ConnectionMalformed, Parameter: "ENDPOINT_AUTH"}
	}
	for name, value := range auth.Parameters {
		if s, ok := value.(string); ok {
			c.parameters[VariableName(name)] = secret.New(s)
		}
	}
	return auth.Scheme, nil
}

// Parameter gives an authorisation parameter, in any case of the name; the empty
// Value when there is none.
func (c Connection) Parameter(name string) secret.Value {
	name = VariableName(name)
	if value, ok := c.env.Lookup("ENDPOINT_AUTH_PARAMETER_" + c.key + "_" + name); ok {
		return secret.New(value)
	}
	return c.parameters[name]
}

// Data gives a data item of the connection, in any case of the name; "" when
// there is none. Data is public.
func (c Connection) Data(name string) string {
	name = VariableName(name)
	if value, ok := c.env.Lookup("ENDPOINT_DATA_" + c.key + "_" + name); ok {
		return value
	}
	var data map[string]any
	if json.Unmarshal([]byte(c.env.Get("ENDPOINT_DATA_"+c.key)), &data) != nil {
		return ""
	}
	for key, value := range data {
		if s, ok := value.(string); ok && VariableName(key) == name {
			return s
		}
	}
	return ""
}

// publicParameters are those the agent does not mask either: identifiers and
// addresses, without which a log is of no use.
func publicParameters() []string {
	return []string{
		"AUTHENTICATIONTYPE", "AUDIENCE", "EMAIL", "ISSUEDAT", "EXPIRESAT", "LOGINSERVER", "REGISTRY", "ROLE", "SCHEME", "SCOPE",
		"SERVICEPRINCIPALID", "TENANTID", "USERNAME", "WORKLOADIDENTITYFEDERATIONISSUER", "WORKLOADIDENTITYFEDERATIONSUBJECT",
	}
}

// Secrets gives the parameters to hide: all but identifiers and addresses.
func (c Connection) Secrets() []secret.Value {
	named := []string{"PASSWORD", "SERVICEPRINCIPALKEY", "SERVICEPRINCIPALCERTIFICATE", "ACCESSTOKEN", "APITOKEN"}
	public := publicParameters()
	for name := range c.parameters {
		if !slices.Contains(named, name) && !slices.Contains(public, name) {
			named = append(named, name)
		}
	}
	slices.Sort(named)
	var secrets []secret.Value
	for _, name := range named {
		if v := c.Parameter(name); !v.Empty() {
			secrets = append(secrets, v)
		}
	}
	return secrets
}
