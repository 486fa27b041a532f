#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "app/cli/helm/chart.h"
#include "app/cli/helm/functions.h"
#include "base/base64.h"

namespace axo::cli::helm {
namespace {

using Chart = std::map<std::string, std::string_view>;

// The text of a template with `data` (JSON) as its dot; "Error: …".
std::string run(std::string_view text, const char* data = "{}") {
    Engine engine;
    if (auto added = engine.add("t", text); !added) return "Error: " + added.error().message;
    auto out = engine.run("t", Value::from_json(Json::parse(data)));
    return out ? *out : "Error: " + out.error().message;
}

TEST(HelmTemplate, TextAndTrimming) {
    EXPECT_EQ(run("a {{ .x }} b", R"({"x":"y"})"), "a y b");
    EXPECT_EQ(run("a \n {{- .x -}} \n b", R"({"x":"y"})"), "ayb");
    EXPECT_EQ(run("a {{/* nothing */}} b{{- /* {{ x }} */ -}} c"), "a  bc");
    EXPECT_EQ(run(R"({{ "}}" }}|{{ `a"b` }}|{{ "a\"b\n" }})"), "}}|a\"b|a\"b\n");
    EXPECT_EQ(run("{{ .missing }}|{{ .a.b }}", R"({"a":{}})"), "|");
}

TEST(HelmTemplate, Control) {
    EXPECT_EQ(run("{{ if .a }}1{{ else if .b }}2{{ else }}3{{ end }}", R"({"b":[1]})"), "2");
    EXPECT_EQ(run("{{ if .a }}1{{ else if .b }}2{{ else if .c }}x{{ else }}3{{ end }}|", R"({"a":0,"b":""})"), "3|");
    EXPECT_EQ(run("{{ with .a }}{{ .b }}{{ else }}none{{ end }}", R"({"a":{"b":7}})"), "7");
    EXPECT_EQ(run("{{ range .l }}[{{ . }}]{{ end }}{{ range .none }}x{{ else }}empty{{ end }}", R"({"l":[1,"b"]})"),
              "[1][b]empty");
    EXPECT_EQ(run("{{ range $k, $v := .m }}{{ $k }}={{ $v }};{{ end }}", R"({"m":{"b":2,"a":1}})"), "a=1;b=2;");
    EXPECT_EQ(run("{{ range $i, $v := .l }}{{ $i }}{{ $v }}{{ end }}", R"({"l":["x","y"]})"), "0x1y");
}

TEST(HelmTemplate, Variables) {
    EXPECT_EQ(run("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ $y := 5 }}{{ end }}{{ $x }}"), "2");
    EXPECT_EQ(run("{{ $x := 1 }}{{ range .l }}{{ $x := . }}{{ end }}{{ $x }}", R"({"l":[7]})"), "1");
    EXPECT_EQ(run("{{ range .l }}{{ $.name }}{{ . }} {{ end }}", R"({"name":"n","l":[1,2]})"), "n1 n2 ");
    EXPECT_EQ(run("{{ $y }}"), "Error: t: undefined variable $y");
}

TEST(HelmTemplate, PipelinesAndParentheses) {
    EXPECT_EQ(run(R"({{ .a | default "d" | quote }})"), "\"d\"");
    EXPECT_EQ(run(R"({{ (index .m "a b").c }})", R"({"m":{"a b":{"c":3}}})"), "3");
    EXPECT_EQ(run(R"({{ and .a (fail "not reached") }}|{{ or 1 (fail "nor this") }})"), "|1");
    EXPECT_EQ(run(R"({{ printf "%s-%d-%v%%" "a" 3 true }})"), "a-3-true%");
}

TEST(HelmTemplate, DefinedTemplates) {
    EXPECT_EQ(run("{{ define \"x\" }}<{{ . }}>{{ end }}{{ template \"x\" .a }}{{ include \"x\" .a | lower }}",
                  R"({"a":"V"})"),
              "<V><v>");
    EXPECT_EQ(run("{{ define \"x\" }}{{ include \"x\" . }}{{ end }}{{ include \"x\" . }}").find("without end") !=
                  std::string::npos,
              true);
    // A defined template changes what it is given.
    EXPECT_EQ(run(R"({{ define "put" }}{{ $_ := set .m "k" "v" }}{{ end }}{{ include "put" (dict "m" .) }}{{ .k }})"),
              "v");
}

TEST(HelmTemplate, MistakesNameTheLine) {
    EXPECT_EQ(run("a\n{{ if .x }}\nb"), "Error: t:3: {{end}} is missing");
    EXPECT_EQ(run("{{ end }}"), "Error: t:1: unexpected {{end}}");
    EXPECT_EQ(run("{{ .a "), "Error: t:1: an action without an end");
    EXPECT_EQ(run("{{ nosuch 1 }}"), "Error: t:1: function \"nosuch\" is not known in {{nosuch 1}}");
    EXPECT_EQ(run("{{ (1 }}"), "Error: t:1: ')' is missing in {{(1}}");
    EXPECT_EQ(run(R"({{ fail "told so" }})"), "Error: told so");
    EXPECT_EQ(run("{{ .a.b }}"), "Error: t: .b of invalid");
}

TEST(HelmFunctions, AsSprigHasThem) {
    EXPECT_EQ(run(R"({{ kindIs "float64" .n }}{{ kindIs "invalid" .x }}{{ kindIs "slice" (list 1) }})", R"({"n":1})"),
              "truetruetrue");
    EXPECT_EQ(
        run(R"({{ .big }}|{{ int64 .big }}|{{ .small }}|{{ .half }})", R"({"big":1000000,"small":524,"half":0.5})"),
        "1e+06|1000000|524|0.5");
    EXPECT_EQ(run(R"({{ splitList "." "a.b.c" | initial | join "/" }}|{{ last (list 1 2) }}|{{ first (list 1 2) }})"),
              "a/b|2|1");
    EXPECT_EQ(
        run(R"({{ semverCompare "<1.30-0" "v1.29.4" }}{{ semverCompare "<1.30-0" "v1.30.0" }}{{ semverCompare ">=1.20" "1.36.0" }})"),
        "truefalsetrue");
    EXPECT_EQ(run(R"({{ ternary "a" "b" true }}{{ has "x" (list "x") }}{{ trunc 2 "abc" }}{{ trunc -2 "abc" }})"),
              "atrueabbc");
    EXPECT_EQ(run(R"({{ dict "a" (list 1 "b") "c" (dict) | toJson }})"), R"({"a":[1,"b"],"c":{}})");
    EXPECT_EQ(run("x:{{ .m | toYaml | nindent 2 }}", R"({"m":{"a":[1],"b":"true"}})"),
              "x:\n  a:\n  - 1\n  b: \"true\"");
    EXPECT_EQ(
        run(R"({{ $a := dict "x" (dict "y" 1) }}{{ $b := deepCopy $a }}{{ $_ := set $b.x "y" 2 }}{{ $a.x.y }}{{ $b.x.y }})"),
        "12");
    EXPECT_EQ(
        run(R"({{ merge (dict "a" 1) (dict "a" 2 "b" 3) | toJson }}{{ mergeOverwrite (dict "a" 1) (dict "a" 2) | toJson }})"),
        R"({"a":1,"b":3}{"a":2})");
    EXPECT_EQ(run(R"({{ omit (dict "a" 1 "b" 2) "a" | toJson }}{{ keys (dict "b" 1 "a" 2) | sortAlpha | join "," }})"),
              R"({"b":2}a,b)");
    EXPECT_EQ(
        run(R"({{ (urlParse "https://h:6443/x").host }}{{ regexFind "[0-9]+$" "h:6443" }}{{ regexReplaceAll ":[0-9]+$" "h:1" "" }})"),
        "h:64436443h");
    EXPECT_EQ(run(R"({{ toString .x }}{{ printf "%v" .x }})"), "<nil><nil>");
    EXPECT_EQ(run(R"({{ (fromYaml "a: [1, 2]").a | toJson }}{{ fromJson "{}" | toJson }})"), "[1,2]{}");
}

// What the template leaves in `out`, read by OpenSSL: "issuer | subject | names | days".
std::string described(const std::string& pem) {
    const std::unique_ptr<BIO, decltype(&::BIO_free)> bio(::BIO_new_mem_buf(pem.data(), -1), &::BIO_free);
    const std::unique_ptr<X509, decltype(&::X509_free)> read(::PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr),
                                                             &::X509_free);
    if (!read) return "no certificate: " + pem;
    const auto name = [](const X509_NAME* of) {
        char text[100] = "";
        ::X509_NAME_get_text_by_NID(of, NID_commonName, text, sizeof text);
        return std::string(text);
    };
    int days = 0, seconds = 0;
    ::ASN1_TIME_diff(&days, &seconds, ::X509_get0_notBefore(read.get()), ::X509_get0_notAfter(read.get()));
    std::string names;
    for (const char* host : {"a.x.io", "b.x.io", "y.io"})
        if (::X509_check_host(read.get(), host, 0, 0, nullptr) == 1) names += std::string(host) + " ";
    for (const char* address : {"10.0.0.1", "fd00::1"})
        if (::X509_check_ip_asc(read.get(), address, 0) == 1) names += std::string(address) + " ";
    return name(::X509_get_issuer_name(read.get())) + " | " + name(::X509_get_subject_name(read.get())) + " | " +
           names + "| " + std::to_string(days);
}

TEST(HelmFunctions, Certificates) {
    EXPECT_EQ(described(run(R"({{ (genCA "my CA" 30).Cert }})")), "my CA | my CA | | 30");
    const std::string made =
        run(R"({{- $ca := genCA "my CA" 30 -}}{{- $made := genSignedCert "*.x.io" (list "10.0.0.1" "fd00::1") )"
            R"((list "*.x.io" "y.io") 7 $ca -}}{{ $made.Cert }}|{{ $made.Key }}|{{ $ca.Cert }}|{{ $ca.Key }})");
    const std::vector<std::string> parts = split("|", made);
    ASSERT_EQ(parts.size(), 4U) << made;
    EXPECT_EQ(described(parts[0]), "my CA | *.x.io | a.x.io b.x.io y.io 10.0.0.1 fd00::1 | 7");
    // What is kept in a Secret signs again, and signs the same.
    const auto again = [&](const std::string& certificate, const std::string& key) {
        return run("{{ (genSignedCert \"y.io\" nil (list \"y.io\") 1 (buildCustomCert \"" + base64_encode(certificate) +
                   "\" \"" + base64_encode(key) + "\")).Cert }}");
    };
    const std::string later = again(parts[2], parts[3]);
    EXPECT_EQ(described(later), "my CA | y.io | y.io | 1");
    const auto read = [](const std::string& pem) {
        const std::unique_ptr<BIO, decltype(&::BIO_free)> bio(::BIO_new_mem_buf(pem.data(), -1), &::BIO_free);
        return std::unique_ptr<X509, decltype(&::X509_free)>(::PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr),
                                                             &::X509_free);
    };
    for (const std::string& leaf : {parts[0], later})
        EXPECT_EQ(::X509_verify(read(leaf).get(), ::X509_get0_pubkey(read(parts[2]).get())), 1);
    EXPECT_NE(again(parts[2], parts[1]).find("its key does not fit its certificate"), std::string::npos);
    EXPECT_NE(again("x", "y").find("not PEM"), std::string::npos);
    EXPECT_NE(run(R"({{ genSignedCert "x" (list "10.0.0.300") list 1 (genCA "c" 1) }})").find("10.0.0.300"),
              std::string::npos);
    EXPECT_NE(run(R"({{ genCA "c" 0 }})").find("0 days"), std::string::npos);
    EXPECT_EQ(run(R"({{ "a.b.c" | replace "." "--" }} {{ "xyz" | b64enc }})"), "a--b--c eHl6");
}

TEST(HelmValues, Set) {
    Json values;
    ASSERT_TRUE(set_value(values, "a.b=1,a.c=true,d={x,2},e[1].f=z,g=null"));
    ASSERT_TRUE(set_value(values, R"(h\.i=a\,b,j=007,k=)"));
    ASSERT_TRUE(set_value(values, "l=5", true));
    EXPECT_EQ(values, Json::parse(R"({"a":{"b":1,"c":true},"d":["x",2],"e":[null,{"f":"z"}],"g":null,
                                      "h.i":"a,b","j":"007","k":"","l":"5"})"));
    EXPECT_FALSE(set_value(values, "a"));
    EXPECT_FALSE(set_value(values, "a={x"));
    EXPECT_FALSE(set_value(values, "a[x]=1"));
    EXPECT_FALSE(set_value(values, "=1"));
}

TEST(HelmChart, Renders) {
    const Chart chart{
        {"Chart.yaml", "name: c\nappVersion: 1.2.3\n"},
        {"values.yaml", "a: {x: 1, y: 2}\nkeep: yes it is\ngone: here\n"},
        {"files/f.txt", "file's text"},
        {"templates/_h.tpl", "{{- define \"h\" -}}{{ .Values.a.x }}{{- end -}}"},
        {"templates/NOTES.txt", "notes for {{ .Release.Namespace }}"},
        {"templates/b.yaml", "kind: Deployment\ndata: {{ .Files.Get \"files/f.txt\" | quote }}\n"},
        {"templates/a.yaml",
         "kind: ConfigMap\nx: {{ include \"h\" . }}\ny: {{ .Values.a.y }}\nv: {{ .Chart.AppVersion | quote "
         "}}\ngone: {{ default \"taken away\" .Values.gone }}\n---\nkind: ServiceAccount\n"}};
    const auto rendered = render(chart, {.name_space = "ns"}, Json::parse(R"({"a":{"x":5},"gone":null})"));
    ASSERT_TRUE(rendered) << rendered.error().message;
    EXPECT_EQ(rendered->notes, "notes for ns");
    const auto objects = manifest_objects(*rendered);
    ASSERT_TRUE(objects) << objects.error().message;
    ASSERT_EQ(objects->size(), 3U);
    EXPECT_EQ((*objects)[0], Json::parse(R"({"kind":"ServiceAccount"})"));
    EXPECT_EQ((*objects)[1], Json::parse(R"({"kind":"ConfigMap","x":5,"y":2,"v":"1.2.3","gone":"taken away"})"));
    EXPECT_EQ((*objects)[2], Json::parse(R"({"kind":"Deployment","data":"file's text"})"));
    Chart later = chart;
    later["Chart.yaml"] = "name: c\nkubeVersion: \">= 1.31.0-0\"\n";
    const auto refused = render(later, {.kubernetes_version = "v1.30.4"}, Json::object());
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().message, "Kubernetes v1.30.4: the chart accepts >= 1.31.0-0");
    EXPECT_NE(manifest_text(*rendered).find("---\n# Source: templates/a.yaml\nkind: ConfigMap"), std::string::npos);
}

}  // namespace
}  // namespace axo::cli::helm
