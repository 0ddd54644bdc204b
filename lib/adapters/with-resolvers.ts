/**
 * libp2p 3 calls `Promise.withResolvers`, which Node 20 does not have. Modules are evaluated in the order they are
 * imported, so whoever imports libp2p imports this first; nobody else may rely on it.
 */
if (!('withResolvers' in Promise)) {
  Object.defineProperty(Promise, 'withResolvers', {
    configurable: true,
    writable: true,
    value<T>(this: PromiseConstructor) {
      const made = {}
      const promise = new this<T>((resolve, reject) => Object.assign(made, { resolve, reject }))
      return Object.assign(made, { promise })
    }
  })
}

export {}
