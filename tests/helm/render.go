// Renders a Helm chart as `helm template` does: text/template and Sprig are the engine that Helm itself uses.
//
// In:  {"chart": DIR, "cases": [{"name", "release", "namespace", "upgrade", "kubeVersion", "values": YAML, "set": […]}]}
// Out: {"<name>": {"error": TEXT, "files": {"templates/x.yaml": TEXT}}}
//
// Not Helm's: subcharts, hooks' order, post-rendering, objects of a cluster (lookup finds nothing).
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig"
	"gopkg.in/yaml.v3"
)

type object = map[string]interface{}

type renderCase struct {
	Name, Release, Namespace, KubeVersion, Values string
	Upgrade                                       bool
	Set                                           []string
}

type result struct {
	Error string            `json:"error,omitempty"`
	Files map[string]string `json:"files,omitempty"`
}

type chart struct {
	templates map[string]string
	files     files
	metadata  object
	values    string
}

func main() {
	var request struct {
		Chart string
		Cases []renderCase
	}
	check(json.NewDecoder(os.Stdin).Decode(&request))
	loaded, err := load(request.Chart)
	check(err)
	results := map[string]result{}
	for _, one := range request.Cases {
		rendered, err := loaded.render(one)
		if err != nil {
			results[one.Name] = result{Error: err.Error()}
		} else {
			results[one.Name] = result{Files: rendered}
		}
	}
	check(json.NewEncoder(os.Stdout).Encode(results))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "render:", err)
		os.Exit(1)
	}
}

func load(directory string) (chart, error) {
	loaded := chart{templates: map[string]string{}, files: files{}}
	err := filepath.Walk(directory, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(directory, path)
		switch {
		case strings.HasPrefix(name, "templates/"):
			loaded.templates[name] = string(content)
		case name == "values.yaml":
			loaded.values = string(content)
		case name == "Chart.yaml":
			loaded.metadata, err = parseYaml(string(content))
		default:
			loaded.files[name] = content
		}
		return err
	})
	return loaded, err
}

func (c chart) render(one renderCase) (map[string]string, error) {
	values, err := parseYaml(c.values)
	if err != nil {
		return nil, fmt.Errorf("values.yaml: %w", err)
	}
	given, err := parseYaml(one.Values)
	if err != nil {
		return nil, fmt.Errorf("values of the case: %w", err)
	}
	for _, text := range one.Set {
		if err := setValues(given, text); err != nil {
			return nil, fmt.Errorf("--set %s: %w", text, err)
		}
	}
	overlay(values, given)
	version := one.KubeVersion
	if version == "" {
		version = "v1.30.0"
	}
	parts := strings.Split(strings.TrimPrefix(version, "v"), ".")
	name := fmt.Sprint(c.metadata["name"])
	upperMetadata := object{}
	for key, value := range c.metadata {
		upperMetadata[strings.ToUpper(key[:1])+key[1:]] = value
	}
	if _, found := values["global"]; !found {
		values["global"] = object{}
	}
	top := object{
		"Values":  values,
		"Chart":   upperMetadata,
		"Files":   c.files,
		"Release": object{"Name": one.Release, "Namespace": one.Namespace, "Service": "Helm", "Revision": 1, "IsInstall": !one.Upgrade, "IsUpgrade": one.Upgrade},
		"Capabilities": object{
			"KubeVersion": kubeVersion{version, parts[0], parts[1]},
			"APIVersions": apiVersions{"v1"},
		},
	}
	all := template.New("chart").Option("missingkey=zero")
	all.Funcs(functions(all))
	for path, text := range c.templates {
		if _, err := all.New(name + "/" + path).Parse(text); err != nil {
			return nil, err
		}
	}
	rendered := map[string]string{}
	for path := range c.templates {
		if strings.HasPrefix(filepath.Base(path), "_") {
			continue
		}
		top["Template"] = object{"Name": name + "/" + path, "BasePath": name + "/templates"}
		var out strings.Builder
		if err := all.ExecuteTemplate(&out, name+"/"+path, top); err != nil {
			return nil, err
		}
		rendered[path] = strings.ReplaceAll(out.String(), "<no value>", "")
	}
	return rendered, nil
}

func functions(all *template.Template) template.FuncMap {
	functions := sprig.TxtFuncMap()
	delete(functions, "env")
	delete(functions, "expandenv")
	functions["toYaml"] = func(value interface{}) string {
		var out strings.Builder
		encoder := yaml.NewEncoder(&out)
		encoder.SetIndent(2)
		if encoder.Encode(whole(value)) != nil {
			return ""
		}
		return strings.TrimSuffix(out.String(), "\n")
	}
	functions["fromYaml"] = func(text string) object {
		parsed, err := parseYaml(text)
		if err != nil {
			return object{"Error": err.Error()}
		}
		return parsed
	}
	functions["fromYamlArray"] = func(text string) []interface{} {
		var parsed []interface{}
		if err := yaml.Unmarshal([]byte(text), &parsed); err != nil {
			return []interface{}{err.Error()}
		}
		return asJson(parsed).([]interface{})
	}
	functions["fromJson"] = func(text string) object {
		parsed := object{}
		if err := json.Unmarshal([]byte(text), &parsed); err != nil {
			return object{"Error": err.Error()}
		}
		return parsed
	}
	functions["fromJsonArray"] = func(text string) []interface{} {
		var parsed []interface{}
		if err := json.Unmarshal([]byte(text), &parsed); err != nil {
			return []interface{}{err.Error()}
		}
		return parsed
	}
	functions["include"] = func(name string, data interface{}) (string, error) {
		var out strings.Builder
		err := all.ExecuteTemplate(&out, name, data)
		return out.String(), err
	}
	functions["tpl"] = func(text string, data interface{}) (string, error) {
		clone, err := all.Clone()
		if err != nil {
			return "", err
		}
		parsed, err := clone.New("tpl").Parse(text)
		if err != nil {
			return "", err
		}
		var out strings.Builder
		err = parsed.Execute(&out, data)
		return out.String(), err
	}
	functions["required"] = func(message string, value interface{}) (interface{}, error) {
		if value == nil || value == "" {
			return value, fmt.Errorf(message)
		}
		return value, nil
	}
	functions["lookup"] = func(string, string, string, string) object { return object{} }
	return functions
}

// What Helm's values are made of: YAML by way of JSON, so every number is a float64.
func asJson(value interface{}) interface{} {
	switch typed := value.(type) {
	case object:
		for key, item := range typed {
			typed[key] = asJson(item)
		}
	case []interface{}:
		for index, item := range typed {
			typed[index] = asJson(item)
		}
	case int:
		return float64(typed)
	}
	return value
}

// Whole numbers are written without a point or an exponent.
func whole(value interface{}) interface{} {
	switch typed := value.(type) {
	case object:
		copied := object{}
		for key, item := range typed {
			copied[key] = whole(item)
		}
		return copied
	case []interface{}:
		copied := make([]interface{}, len(typed))
		for index, item := range typed {
			copied[index] = whole(item)
		}
		return copied
	case float64:
		if typed == float64(int64(typed)) {
			return int64(typed)
		}
	}
	return value
}

func parseYaml(text string) (object, error) {
	parsed := object{}
	if err := yaml.Unmarshal([]byte(text), &parsed); err != nil {
		return nil, err
	}
	return asJson(parsed).(object), nil
}

// The given values over the defaults; null takes a default away.
func overlay(defaults, given object) {
	for key, value := range given {
		below, isObject := value.(object)
		base, baseIsObject := defaults[key].(object)
		switch {
		case value == nil:
			delete(defaults, key)
		case isObject && baseIsObject:
			overlay(base, below)
		default:
			defaults[key] = value
		}
	}
}

type kubeVersion struct{ Version, Major, Minor string }

func (v kubeVersion) String() string { return v.Version }

type apiVersions []string

func (a apiVersions) Has(string) bool { return false }

type files map[string][]byte

func (f files) Get(name string) string { return string(f[name]) }

// --set a.b=1,c={x,y},d[0].e=z with \ before a comma or a point that is meant literally.
func setValues(values object, text string) error {
	for text != "" {
		end := cut(text, '=')
		if end < 0 {
			return fmt.Errorf("no =")
		}
		path := text[:end]
		text = text[end+1:]
		var value interface{}
		if strings.HasPrefix(text, "{") {
			close := strings.IndexByte(text, '}')
			if close < 0 {
				return fmt.Errorf("no }")
			}
			list := []interface{}{}
			for _, item := range strings.Split(text[1:close], ",") {
				if item != "" {
					list = append(list, typed(item))
				}
			}
			value, text = list, strings.TrimPrefix(text[close+1:], ",")
		} else {
			end := cut(text, ',')
			rest := ""
			if end >= 0 {
				text, rest = text[:end], text[end+1:]
			}
			value, text = typed(unescape(text)), rest
		}
		if err := put(values, path, value); err != nil {
			return err
		}
	}
	return nil
}

// The first such character that no backslash precedes.
func cut(text string, wanted byte) int {
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' {
			i++
		} else if text[i] == wanted {
			return i
		}
	}
	return -1
}

func unescape(text string) string {
	return strings.NewReplacer(`\,`, ",", `\.`, ".", `\=`, "=", `\\`, `\`).Replace(text)
}

func typed(text string) interface{} {
	switch text {
	case "true":
		return true
	case "false":
		return false
	case "null":
		return nil
	case "0":
		return int64(0)
	}
	if !strings.HasPrefix(text, "0") {
		if number, err := strconv.ParseInt(text, 10, 64); err == nil {
			return number
		}
	}
	return text
}

func put(values object, path string, value interface{}) error {
	end := cut(path, '.')
	part := path
	if end >= 0 {
		part = path[:end]
	}
	index := -1
	if open := strings.IndexByte(part, '['); open >= 0 && strings.HasSuffix(part, "]") {
		number, err := strconv.Atoi(part[open+1 : len(part)-1])
		if err != nil || number < 0 || number > 1000 {
			return fmt.Errorf("index in %q", part)
		}
		index, part = number, part[:open]
	}
	part = unescape(part)
	if index < 0 {
		if end < 0 {
			values[part] = value
			return nil
		}
		below, ok := values[part].(object)
		if !ok {
			below = object{}
			values[part] = below
		}
		return put(below, path[end+1:], value)
	}
	list, _ := values[part].([]interface{})
	for len(list) <= index {
		list = append(list, nil)
	}
	if end < 0 {
		list[index] = value
	} else {
		below, ok := list[index].(object)
		if !ok {
			below = object{}
		}
		if err := put(below, path[end+1:], value); err != nil {
			return err
		}
		list[index] = below
	}
	values[part] = list
	return nil
}
