// A client in the page.

const MAX_MESSAGES = 500
const MAX_FILTERS = 16

const subscription = { filters: [], fresh: [], stop: null, waiting: [], seen: 0, lost: 0 }

function subscribe() {
    subscription.stop?.()
    subscription.stop = null
    fill(byId('subscribed'), subscription.filters.map(subscribed))
    if (subscription.filters.length === 0) return
    subscription.stop = follow(`api/v1/messages?${query({ filter: subscription.filters })}`, {
        event(name, message) {
            if (name === 'dropped') subscription.lost += message.messages
            // What is retained comes again with each new subscription, for the others too.
            else if (
                name === 'message' &&
                (!message.retain || subscription.fresh.some((filter) => covers(filter, message.topic)))
            ) {
                subscription.seen += 1
                subscription.waiting.push(message)
                if (subscription.waiting.length > MAX_MESSAGES) subscription.waiting.shift()
            }
        },
        lost: (error) => toast(error.message, true),
    })
}

function subscribed(filter) {
    const remove = make('button', { type: 'button' }, filter, ' ✕')
    remove.setAttribute('aria-label', `Unsubscribe ${filter}`)
    remove.onclick = () => {
        subscription.filters = subscription.filters.filter((other) => other !== filter)
        subscription.fresh = []
        subscribe()
        byId('subscribe-filter').focus()
    }
    return make('li', {}, remove)
}

byId('subscribe').onsubmit = (event) => {
    event.preventDefault()
    const filter = byId('subscribe-filter').value
    if (subscription.filters.includes(filter)) return toast('Already subscribed to it.')
    if (subscription.filters.length >= MAX_FILTERS) return toast(`At most ${MAX_FILTERS} at a time.`, true)
    attempt(async () => {
        // Says what is wrong with it before the others are given up.
        await ask(`api/v1/subscriptions?${query({ filter, limit: 1 })}`)
        subscription.filters.push(filter)
        subscription.fresh = [filter]
        subscribe()
    })
}

function messageItem(message) {
    const about = [
        clock(message.time),
        `QoS ${message.qos}`,
        message.retain && 'retained',
        message.truncated && `${size(message.bytes)}, cut`,
    ]
    return make(
        'li',
        {},
        make('small', {}, about.filter(Boolean).join(' · ')),
        make('b', {}, message.topic),
        make('pre', {}, payloadText(message).slice(0, 4000)),
    )
}

function showMessages() {
    const list = byId('messages')
    if (!byId('messages-hold').checked && subscription.waiting.length > 0) {
        list.prepend(...subscription.waiting.splice(0).reverse().map(messageItem))
        while (list.children.length > MAX_MESSAGES) list.lastChild.remove()
    }
    const held =
        byId('messages-hold').checked && subscription.waiting.length > 0
            ? `, ${subscription.waiting.length} held`
            : ''
    const lost = subscription.lost > 0 ? `, ${count(subscription.lost)} missed` : ''
    write(
        byId('messages-count'),
        subscription.stop ? `${counted(subscription.seen, 'message')}${held}${lost}` : 'Not subscribed.',
    )
}

byId('messages-clear').onclick = () => {
    byId('messages').replaceChildren()
    Object.assign(subscription, { waiting: [], seen: 0, lost: 0 })
}

byId('publish').onsubmit = (event) => {
    event.preventDefault()
    attempt(async () => {
        const { receivers } = await publish({
            topic: byId('publish-topic').value,
            payload: byId('publish-payload').value,
            qos: Number(byId('publish-qos').value),
            retain: byId('publish-retain').checked,
        })
        write(byId('published'), `${clock(Date.now())}: published to ${counted(receivers, 'receiver')}`)
    })
}

byId('publish-payload').onkeydown = (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) byId('publish').requestSubmit()
}
