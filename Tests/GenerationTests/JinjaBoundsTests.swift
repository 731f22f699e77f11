import Testing

@testable import Generation

/// Chat templates come with a checkpoint and are evaluated at load: none may trap, hang or take the memory.
@Suite("Bounds of chat templates", .timeLimit(.minutes(1)))
struct JinjaBoundsTests {
    private static func render(_ source: String) throws(JinjaTemplate.Failure) -> String {
        try JinjaRenderer.render(JinjaTemplate(source), [:])
    }

    private static func repeated(_ text: String, _ count: Int) -> String {
        String(repeating: text, count: count)
    }

    /// Sets `a` to lists that hold each other twice: as many elements as 2 to the power of `levels`.
    private static func shared(_ levels: Int) -> String {
        "{% set a = [1] %}" + repeated("{% set a = [a, a] %}", levels)
    }

    @Test(
        "numbers at the ends of 64 bits",
        arguments: [
            ("{{ range(-9223372036854775807 - 1) }}", "range"),
            ("{{ range(-9223372036854775807 - 1, 9223372036854775807) }}", "range"),
            ("{{ -(-9223372036854775807 - 1) }}", "too large"),
            ("{{ 9223372036854775807 + 1 }}", "too large"),
            ("{{ -9223372036854775807 - 2 }}", "too large"),
            ("{{ 9223372036854775807 * 2 }}", "too large"),
            ("{{ (-9223372036854775807 - 1) * -1 }}", "too large"),
            ("{{ (-9223372036854775807 - 1) // -1 }}", "division"),
            ("{{ (-9223372036854775807 - 1) % -1 }}", "division"),
            ("{{ 1 % 0 }}", "division"), ("{{ 9223372036854775808 }}", "too large"),
        ])
    func numbers(source: String, reason: String) {
        Self.expectUnknown(source, reason)
    }

    @Test("indices and repetitions at the ends of 64 bits give what Python gives")
    func ends() throws {
        let least = "(-9223372036854775807 - 1)"
        #expect(try Self.render("{{ '' * 9000000000000000000 }}|{{ 9000000000000000000 * '' }}") == "|")
        #expect(try Self.render("{{ 'a' * \(least) }}|{{ 'ab' * 2 }}") == "|abab")
        #expect(try Self.render("{{ 'abc'[\(least):9223372036854775807] }}|{{ 'abc'[\(least)] }}") == "abc|")
        #expect(try Self.render("{{ [1, 2][9223372036854775807] }}|{{ [1, 2][\(least)] }}") == "|")
    }

    @Test(
        "texts too long to be built",
        arguments: [
            ("{{ ('a' * 262144) | join('b' * 262144) }}", "much"),
            ("{{ (['a' * 262144] + ['a' * 262144]) | join }}", "much"),
            ("{{ ('a' * 262144).replace('a', 'b' * 262144) }}", "much"),
            ("{{ ('a' * 262144) ~ 'a' }}", "much"), ("{{ ('a' * 262144) + 'a' }}", "much"),
            ("{{ ('ß' * 131072) ~ ('ß' * 131072) }}", "much"), ("{{ ('ΐ' * 131072) | upper }}", "much"),
            ("{{ (('ΐ ' * 80000) | title) }}", "much"),
            ("{% set a = range(200000) %}{{ (a + a) | length }}", "long list"),
        ])
    func texts(source: String, reason: String) {
        Self.expectUnknown(source, reason)
    }

    @Test(
        "work that grows with the size of values, not with the length of the template",
        arguments: [
            (shared(60) + "{{ a == a }}", "steps"),
            (shared(12) + "{% for i in range(200) %}{% set b = a == a %}{% endfor %}", "steps"),
            (shared(12) + "{% for i in range(200) %}{% set b = a != a %}{% endfor %}", "steps"),
            (shared(12) + "{% for i in range(200) %}{% set b = a in [a] %}{% endfor %}", "steps"),
            (shared(12) + "{% for i in range(200) %}{% set b = a is equalto a %}{% endfor %}", "steps"),
            (
                "{% set a = ['a' * 200000] %}{% for i in range(99) %}{% set b = a == ['a' * 200000] %}{% endfor %}",
                "steps"
            ),
            (
                "{% set a = [['a' * 200000]] %}{% for i in range(99) %}{% set b = a == a %}{% endfor %}",
                "steps"
            ),
            (
                "{% set a = [{'x': 'a' * 200000}] * 1 %}", "operator"
            ),
            (
                "{% set a = [{'x': 'a' * 100000}] %}{% for i in range(99) %}"
                    + "{% set b = a | selectattr('x', 'in', 'b') | list %}{% endfor %}", "steps"
            ),
            (
                "{% set a = {\(repeated("'k': 1, ", 20_000))} %}"
                    + "{% for i in range(9999) %}{% set b = a.x %}{% endfor %}", "steps"
            ),
            (
                "{% set a = {\(repeated("'k': 1, ", 20_000))} %}"
                    + "{% for i in range(9999) %}{% set b = [a] | map(attribute='x') %}{% endfor %}", "steps"
            ),
            (
                "{% for i in range(99999) %}{% set b %}\(repeated("text ", 20_000)){% endset %}{% endfor %}",
                "steps"
            ),
            (
                "{% for i in range(999) %}{% for j in range(999) %}{% endfor %}{% endfor %}", "steps"
            ),
            ("{{ {'a': 1} == {'a': 1} }}", "objects"),
        ])
    func work(source: String, reason: String) {
        Self.expectUnknown(source, reason)
    }

    @Test(
        "chains, which the tree of a template holds in each other",
        arguments: [
            "~1", "+1", "-1", "*1", "//1", " and 1", " or 1", ".a", "[0]", "(1)", "[0:1]", "|string",
            "|default('a')", " is defined", " is not none", "|string.a",
        ])
    func chains(link: String) {
        let count = (JinjaTemplate.Limits.source - 100) / link.utf8.count
        Self.expectUnknown("{{ 1\(Self.repeated(link, count)) }}", "operators")
        Self.expectUnknown("{% if 1 %}{% elif 1\(Self.repeated(link, count)) %}{% endif %}", "operators")
    }

    @Test("chains of published lengths, and any number of tags, are read")
    func shortChains() throws {
        #expect(try Self.render("{{ 1\(Self.repeated(" ~ 1", 100)) }}") == Self.repeated("1", 101))
        #expect(try Self.render(Self.repeated("{{ 'a' ~ 'b' }}", 5000)) == Self.repeated("ab", 5000))
        let elif = Self.repeated("{% elif 0 %}", 20_000)
        #expect(try Self.render("{% if 0 %}\(elif){% else %}x{% endif %}") == "x")
    }

    @Test(
        "values nested in each other without end",
        arguments: [
            "{% set n.a = [n.a] %}", "{% set n.a = {'a': n.a} %}", "{% set n.a = [[n.a]] + [1] %}",
            "{% set n.a = [n.a, loop] %}",
            "{% for x in n.a %}{% set n.b = loop.items() %}{% endfor %}{% set n.a = n.b %}",
        ])
    func nestedValues(body: String) {
        Self.expectUnknown(
            "{% set n = namespace(a=[1, 2]) %}{% for i in range(30000) %}\(body){% endfor %}", "nested")
    }

    @Test("error texts name words as the template has them, and stay short")
    func words() {
        Self.expectUnknown("{% if 1 , %}", "',' where '%}' was expected")
        Self.expectUnknown("{% if 1 %}", "the end where '{%' was expected")
        Self.expectUnknown("{{ 1 2 }}", "the number 2 where '}}' was expected")
        Self.expectUnknown("{{ 1 'a' }}", "the text 'a' where '}}' was expected")
        Self.expectUnknown("{% set 1 %}", "the number 1 where a name was expected")
        Self.expectUnknown("{{ + }}", "'+' in an expression")
        Self.expectUnknown("{{ \(Self.repeated("a", 100_000)) }}", "long name")
        Self.expectUnknown("{{ raise_exception('a' * 200000) }}", "refuses")
        Self.expectUnknown("{{ ''['\(Self.repeated("a", 100_000))'].b }}", "aaa…")
    }

    @Test("search, split, replace and join work on scalars, as in Python")
    func search() throws {
        #expect(
            try Self.render("{{ 'ababac'.split('aba') | join('-') }}|{{ 'aaa'.replace('aa', 'b') }}")
                == "-bac|ba")
        #expect(
            try Self.render("{{ 'aabaaab'.split('aaab') | join('-') }}|{{ ',a,,'.split(',') | length }}")
                == "aab-|4")
        #expect(try Self.render("{{ 'é'.replace('e\u{301}', 'x') }}|{{ 'é' in 'caf\u{E9}' }}") == "é|True")
        #expect(
            try Self.render("{{ '' in 'a' }}|{{ 'ab' in 'aab' }}|{{ 'abc' in 'ab' }}") == "True|True|False")
        #expect(
            try Self.render("{{ 'a' in {'a': 1} }}|{{ 1 in [2, true] }}|{{ [1, ['a']] == [1, ['a']] }}")
                == "True|True|True")
        #expect(try Self.render("{{ 'a' < 'b' }}|{{ 'é' < 'z' }}|{{ {'a': 1, 'a': 2}.a }}") == "True|False|2")
    }

    private static func expectUnknown(_ source: String, _ reason: String) {
        guard case .unknown(let got) = ChatTemplate.recognize(source, tokens: [:]) else {
            Issue.record("recognised: \(source.prefix(200))")
            return
        }
        #expect(got.contains(reason), "\(source.prefix(200)): \(got)")
        #expect(got.utf8.count < 400)
    }
}
