// A prompt and its tests to begin with: something a model of 135 million parameters can do sometimes.

export const EXAMPLE = {
  prompt: `---
name: capital
version: 0.1.0
description: Names the capital of a country.
settings: {max_tokens: 24, temperature: 0.7}
slots:
  country: {type: line, most: 60, description: the country that is asked about}
requirements:
  - {id: R1, text: Names the capital., threshold: 0.9, margin: 0.2}
---
{{#seg task kind=task req=R1}}
Name the capital of the country below. If it is no country, answer: unknown.
{{/seg}}
{{#seg form kind=format req=R1}}
Answer in one short sentence.
{{/seg}}
{{#seg question kind=input role=user}}
<country>{{country}}</country>
{{/seg}}
`,
  tests: `tests:
  - description: France
    vars: {country: France}
    assert: [{type: icontains, value: Paris}]
    metadata: {requirements: [R1]}
  - description: Japan
    vars: {country: Japan}
    assert: [{type: icontains, value: Tokyo}]
    metadata: {requirements: [R1]}
  - description: Iceland
    vars: {country: Iceland}
    assert: [{type: icontains, value: Reykjav}]
    metadata: {requirements: [R1]}
`,
};
