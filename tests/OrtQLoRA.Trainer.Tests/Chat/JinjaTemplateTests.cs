using OrtQLoRA.Trainer.Chat.Jinja;

namespace OrtQLoRA.Trainer.Tests.Chat;

/// <summary>The language itself; what is expected is what Jinja2 prints with trim_blocks and lstrip_blocks.</summary>
[TestClass]
public sealed class JinjaTemplateTests
{
    [TestMethod]
    [DataRow("{{ 1 + 2 * 3 ** 2 }}", "19")]
    [DataRow("{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ 7 / 2 }}", "3 -4 1 3.5")]
    [DataRow("{{ 'a' ~ 1 ~ none ~ true }}", "a1NoneTrue")]
    [DataRow("{{ 1 if false else 2 }}{{ 3 if false }}", "2")]
    [DataRow("{{ not true or 1 == 1 and 2 > 1 }}", "True")]
    [DataRow("{{ 'b' in 'abc' }} {{ 2 not in [1, 2] }} {{ 'k' in {'k': 1} }}", "True False True")]
    [DataRow("{{ x is defined }} {{ x is not defined }} {{ none is none }} {{ 'a' is string }} {{ {} is mapping }}", "False True True True True")]
    [DataRow("{{ [1, 2, 3][-1] }} {{ [1, 2, 3][1:] }} {{ 'abc'[::-1] }} {{ 'abcd'[1:3] }}", "3 [2, 3] cba bc")]
    [DataRow("{{ {'a': [1, 'x', none]} }}", "{'a': [1, 'x', None]}")]
    [DataRow("{{ ['b', 'a'] | sort | join('-') | upper }}", "A-B")]
    [DataRow("{{ '  x ' | trim }}{{ 'a,b'.split(',')[1] }}{{ ' y'.strip() }}{{ 'abc'.startswith('ab') }}", "xbyTrue")]
    [DataRow("{{ missing | default('d') }}{{ '' | default('e', true) }}{{ missing.__class__ is defined }}", null)]
    [DataRow("{% for i in range(3) %}{{ i }}{% if not loop.last %},{% endif %}{% endfor %}", "0,1,2")]
    [DataRow("{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}={{ v }};{% endfor %}", "a=1;b=2;")]
    [DataRow("{% for i in [1, 2, 3, 4] if i % 2 == 0 %}{{ loop.index }}:{{ i }} {% else %}none{% endfor %}", "1:2 2:4 ")]
    [DataRow("{% for i in [] %}x{% else %}empty{% endfor %}", "empty")]
    [DataRow("{% for i in range(9) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}", "02")]
    [DataRow("{% set n = namespace(v=0) %}{% for i in [1, 2] %}{% set n.v = n.v + i %}{% endfor %}{{ n.v }}", "3")]
    [DataRow("{% set v = 0 %}{% for i in [1, 2] %}{% set v = v + i %}{% endfor %}{{ v }}", "0")]
    [DataRow("{% macro m(a, b='x') %}[{{ a }}{{ b }}]{% endmacro %}{{ m(1) }}{{ m(2, b='y') }}", "[1x][2y]")]
    [DataRow("{% set t %}a{{ 1 }}{% endset %}{{ t }}{% filter upper %}b{% endfilter %}", "a1B")]
    [DataRow("{% raw %}{{ x }}{% endraw %}{# comment #}!", "{{ x }}!")]
    [DataRow("a\n  {%- if true %} b {% endif -%}  \nc", "a b c")]
    [DataRow("{% if true %}\nx\n{% endif %}\ny\n", "x\ny\n")]
    [DataRow("  {% if true %}\n  x\n  {% endif %}\ny", "  x\ny")]
    [DataRow("{{ [{'r': 'u'}, {'r': 'a'}] | selectattr('r', 'equalto', 'a') | list | length }}", "1")]
    [DataRow("{{ [{'r': 'u'}, {'r': 'a'}] | map(attribute='r') | join }}", "ua")]
    [DataRow("{{ {'b': [1, {}], 'a': 'é\"'} | tojson }}", "{\"b\": [1, {}], \"a\": \"é\\\"\"}")]
    [DataRow("{{ {'a': [1]} | tojson(indent=2) }}", "{\n  \"a\": [\n    1\n  ]\n}")]
    [DataRow("{{ 'it\\'s' }}{{ \"\\n\" }}{{ 'x' 'y' }}", "it's\nxy")]
    [DataRow("{{ (1, 2) | length }}{{ 1.5 | int }}{{ '3' | int + 1 }}", "214")]
    public void Render_Expression_GivesWhatJinjaGives(string template, string? expected)
    {
        if (expected is null)
        {
            Assert.ThrowsExactly<JinjaException>(() => Render(template));
            return;
        }

        Assert.AreEqual(expected, Render(template));
    }

    [TestMethod]
    [DataRow("{% if x %}", "expected {% endif %}")]
    [DataRow("line\n{{ 1 +", "line 2")]
    [DataRow("{{ 'abc }}", "a string does not end")]
    [DataRow("{{ x | nofilter }}", "the filter 'nofilter' is not known")]
    [DataRow("{% include 'x' %}", "the statement 'include' is not known")]
    [DataRow("{{ 1 2 }}", "expected the end of the tag")]
    public void Parse_Malformed_SaysWhereAndWhat(string template, string expected) =>
        StringAssert.Contains(Assert.ThrowsExactly<JinjaException>(() => Render(template)).Message, expected);

    [TestMethod]
    [DataRow("{{ unset.name }}", "'unset', which is not set")]
    [DataRow("{{ unset() }}", "'unset', which is not known")]
    [DataRow("{{ raise_exception('no') }}", "refuses the conversation: no")]
    [DataRow("{{ 'a' + 1 }}", "has no meaning")]
    [DataRow("{% for i in range(1000000) %}{% for j in range(1000000) %}{% endfor %}{% endfor %}", "does not come to an end")]
    [DataRow("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "deep")]
    public void Render_Faulty_SaysWhy(string template, string expected) =>
        StringAssert.Contains(Assert.ThrowsExactly<JinjaException>(() => Render(template)).Message, expected);

    private static string Render(string template) => JinjaTemplate.Parse(template).Render(new Dictionary<string, object?>()).Text;
}
