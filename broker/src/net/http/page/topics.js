// What is published where: what is retained, and then what comes.

const MAX_TOPICS = 5_000
const MAX_ROWS = 1_000
// Above so many messages a second nothing is watched without being asked for.
const MAX_CALM_RATE = 2_000
const MAX_PAST = 120
// Characters; of base64 a multiple of four.
const MAX_KEPT = 8192

const topics = {
    root: null,
    known: 0,
    unknown: 0,
    seen: 0,
    lost: 0,
    stop: null,
    filter: null,
    rows: [],
    selected: null,
    isDirty: false,
    focused: null,
    run: null,
}

// With 2 before 10.
const byName = new Intl.Collator('en', { numeric: true })

const topicNode = (name, path, parent) => ({
    name,
    path,
    parent,
    children: new Map(),
    beneath: 0,
    message: null,
    isOpen: undefined,
    row: null,
    past: [],
})

// The node of a topic, if there is room for it.
function topicAt(topic) {
    let node = topics.root
    const way = []
    for (const name of topic.split('/')) {
        const path = way.length ? `${node.path}/${name}` : name
        let next = node.children.get(name)
        if (!next) {
            if (topics.known >= MAX_TOPICS) return null
            next = topicNode(name, path, node)
            node.children.set(name, next)
        }
        way.push(next)
        node = next
    }
    if (!node.message) {
        topics.known += 1
        for (let above = node.parent; above; above = above.parent) above.beneath += 1
    }
    return node
}

// All of them are kept, so that of each only the begin is.
function cut(message) {
    for (const name of ['payload', 'payload_base64']) {
        if (message[name]?.length > MAX_KEPT)
            message = { ...message, [name]: message[name].slice(0, MAX_KEPT), truncated: true }
    }
    return message
}

function takeMessage(message, isRetained) {
    const node = topicAt(message.topic)
    if (!node) return (topics.unknown += 1)
    node.message = cut(message)
    node.isRetained ||= isRetained
    node.time = isRetained ? null : message.time
    const value = Number(message.payload)
    if (message.payload?.trim() && Number.isFinite(value) && !isRetained) {
        node.past.push(value)
        if (node.past.length > MAX_PAST) node.past.shift()
    }
    topics.isDirty = true
}

// Shows what is retained, and watches if wanted.
async function startTopics() {
    stopTopics()
    const filter = byId('topics-filter').value
    const run = (topics.run = {})
    Object.assign(topics, {
        root: topicNode('', '', null),
        known: 0,
        unknown: 0,
        seen: 0,
        lost: 0,
        filter,
        selected: null,
        isDirty: true,
    })
    byId('topic').hidden = true
    let after = null
    do {
        const page = await askJson(`api/v1/retained?${query({ filter, limit: 1000, after })}`)
        if (topics.run !== run) return
        for (const message of page.retained) takeMessage(message, true)
        after = page.next
    } while (after && topics.known < MAX_TOPICS)
    topics.run = null
    if (byId('topics-live').checked) watchTopics()
}

function watchTopics() {
    stopTopics()
    topics.stop = follow(`api/v1/messages?${query({ filter: topics.filter })}`, {
        event(name, message) {
            if (name === 'dropped') topics.lost += message.messages
            else if (name === 'message') {
                topics.seen += 1
                takeMessage(message, message.retain)
            }
            topics.isDirty = true
        },
        lost: (error) => error.status && toast(error.message, true),
    })
}

function stopTopics() {
    topics.stop?.()
    topics.stop = null
}

function leaveTopics() {
    stopTopics()
    // What did not come whole is asked for again.
    if (topics.run) topics.root = topics.run = null
}

// On coming to this view.
async function openTopics() {
    // The first rate is known with the second reading.
    while (!topics.root && history.length < 2) {
        await pause(100)
        if (byId('view-topics').hidden) return
    }
    const busy = history.at(-1)?.messages_in ?? 0
    if (!topics.root && busy > MAX_CALM_RATE) {
        byId('topics-live').checked = false
        toast(
            `${rate(busy)} messages a second come in: watching them all is work for the broker. Give a filter, or watch anyway.`,
        )
    }
    if (!topics.root) attempt(startTopics)
    else if (byId('topics-live').checked && !topics.stop) watchTopics()
}

byId('topics-bar').onsubmit = (event) => {
    event.preventDefault()
    attempt(startTopics)
}
byId('topics-live').onchange = (event) => {
    if (!event.target.checked) stopTopics()
    else if (topics.root) watchTopics()
}

// The tree.

function showTopics() {
    if (!topics.isDirty || !topics.root || byId('view-topics').hidden) return
    topics.isDirty = false
    topics.rows = []
    listTopics(topics.root, 0)
    const hidden = topics.unknown > 0 ? `, more than ${exact.format(MAX_TOPICS)} are not shown` : ''
    const lines = topics.rows.length >= MAX_ROWS ? `, the first ${exact.format(MAX_ROWS)} lines` : ''
    const missed = topics.lost > 0 ? `, ${count(topics.lost)} missed` : ''
    write(
        byId('topics-count'),
        `${counted(topics.known, 'topic')}${hidden}${lines}${topics.stop ? `, ${counted(topics.seen, 'message')} seen${missed}` : ''}`,
    )
    if (!topics.rows.includes(topics.focused)) topics.focused = topics.selected ?? topics.rows[0] ?? null
    for (const node of topics.rows) writeTopic(node)
    fill(
        byId('tree'),
        topics.rows.map(({ row }) => row),
    )
    showTopic()
}

function listTopics(node, depth) {
    const children = [...node.children.values()].sort((a, b) => byName.compare(a.name, b.name))
    for (const child of children) {
        if (topics.rows.length >= MAX_ROWS) return
        child.depth = depth
        child.isOpen ??= children.length <= 20 && depth < 3
        topics.rows.push(child)
        if (child.isOpen) listTopics(child, depth + 1)
    }
}

function writeTopic(node) {
    if (!node.row) {
        const [twist, name, many, value] = ['i', 'b', 'small', 'span'].map((tag) => make(tag))
        twist.setAttribute('aria-hidden', 'true')
        node.row = make('div', { role: 'treeitem' }, twist, name, many, value)
        node.row.style.setProperty('--depth', node.depth)
        node.row.setAttribute('aria-level', node.depth + 1)
        node.row.onclick = () => {
            if (node.children.size > 0 && (!node.message || topics.selected === node))
                node.isOpen = !node.isOpen
            select(node)
        }
        write(name, node.name || '(empty)')
    }
    const [twist, , many, value] = node.row.children
    const isBranch = node.children.size > 0
    write(twist, isBranch ? (node.isOpen ? '▾' : '▸') : '')
    write(many, isBranch && !node.isOpen ? exact.format(node.beneath) : '')
    write(value, node.message ? line(payloadText(node.message), 120) : '')
    value.classList.toggle('retained', Boolean(node.isRetained))
    if (isBranch) node.row.setAttribute('aria-expanded', Boolean(node.isOpen))
    node.row.setAttribute('aria-selected', node === topics.selected)
    node.row.tabIndex = node === topics.focused ? 0 : -1
}

function select(node) {
    topics.selected = topics.focused = node
    topics.isDirty = true
    showTopics()
    node.row.focus()
}

byId('tree').onkeydown = (event) => {
    const { rows, focused } = topics
    const at = rows.indexOf(focused)
    if (at < 0 || event.ctrlKey || event.altKey || event.metaKey) return
    const isBranch = focused.children.size > 0
    let to = focused
    if (event.key === 'ArrowDown') to = rows[at + 1]
    else if (event.key === 'ArrowUp') to = rows[at - 1]
    else if (event.key === 'Home') to = rows[0]
    else if (event.key === 'End') to = rows.at(-1)
    else if (event.key === 'ArrowRight' && isBranch && !focused.isOpen) focused.isOpen = true
    else if (event.key === 'ArrowRight') to = isBranch ? rows[at + 1] : focused
    else if (event.key === 'ArrowLeft' && isBranch && focused.isOpen) focused.isOpen = false
    else if (event.key === 'ArrowLeft') to = focused.parent === topics.root ? focused : focused.parent
    else if (event.key === 'Enter' || event.key === ' ') to = focused
    else return
    event.preventDefault()
    if (to) select(to)
}

// One topic.

const topicParts = {
    title: make('h2'),
    about: make('p', { className: 'note' }),
    drawing: svg('svg', { role: 'img', class: 'past' }),
    payload: make('pre', { tabIndex: 0 }),
    use: make('button', { type: 'button' }, 'Publish here'),
    remove: make('button', { type: 'button', className: 'danger' }, 'Remove what is retained'),
}
topicParts.drawing.append(svg('path', { class: 'line line-0' }))
byId('topic').append(
    topicParts.title,
    topicParts.about,
    topicParts.drawing,
    topicParts.payload,
    make('div', { className: 'bar end' }, topicParts.use, topicParts.remove),
)

topicParts.use.onclick = () => {
    byId('publish-topic').value = topics.selected.path
    location.hash = '#console'
    byId('publish-payload').focus()
}
topicParts.remove.onclick = () =>
    attempt(async () => {
        const node = topics.selected
        await ask(`api/v1/retained?${query({ topic: node.path })}`, { method: 'DELETE' })
        node.isRetained = false
        topics.isDirty = true
        toast(`${node.path}: no longer retained`)
    })

function showTopic() {
    const node = topics.selected
    byId('topic').hidden = !node
    if (!node) return
    const { message, past } = node
    const { title, about, drawing, payload, use, remove } = topicParts
    write(title, node.path || '(empty)')
    const facts = message
        ? [
              size(message.bytes),
              `QoS ${message.qos}`,
              node.isRetained && 'retained',
              node.time && `came at ${clock(node.time)}`,
              message.truncated && 'only the begin is shown',
              message.payload_base64 !== undefined && 'in hexadecimal digits',
          ]
        : [`${counted(node.beneath, 'topic')} below`]
    write(about, facts.filter(Boolean).join(' · '))
    write(payload, message ? pretty(message) : '')
    payload.hidden = !message
    remove.hidden = !node.isRetained
    use.hidden = !message
    drawing.toggleAttribute('hidden', past.length < 2)
    if (past.length < 2) return
    const [low, high] = [Math.min(...past), Math.max(...past)]
    const points = past.map(
        (value, n) =>
            `${(n / (past.length - 1)) * 100} ${high === low ? 20 : 38 - ((value - low) / (high - low)) * 36}`,
    )
    drawing.setAttribute('viewBox', '0 0 100 40')
    drawing.setAttribute('preserveAspectRatio', 'none')
    drawing.setAttribute('aria-label', `The last ${past.length} values, from ${low} to ${high}`)
    drawing.firstChild.setAttribute('d', `M${points.join('L')}`)
}

// JSON over several lines.
function pretty(message) {
    const text = payloadText(message)
    if (!/^\s*[[{]/.test(text)) return text
    try {
        return JSON.stringify(JSON.parse(text), null, 2)
    } catch {
        return text
    }
}
